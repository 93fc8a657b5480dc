#pragma once

#include <deque>
#include <string>
#include <vector>

#include "io/kernel_tls.h"
#include "test/sim/sim_loop.h"

namespace sluice::sim {

// The simulated kernel's TLS of one socket.
struct SimTlsState {
  uint64_t key = 0;  // the first bytes of the real one
  uint64_t sequence = 0;
  uint64_t tcp_bytes = 1'000'000;
  std::string pending;  // of the last record, that TCP has not taken; FIN or close lose it
};

// A record of the simulation is as long as TLS' and hides nothing: header, content (each byte ^ 0x55), type, key, sequence number.
// As on a real kernel, a record that TCP takes a part of counts as sent, and goes on by itself a little later.
class SimTls final : public io::KernelTls {
 public:
  explicit SimTls(SimLoop& loop) : loop_(loop) {}
  // What it does, as the test wants it.
  bool can_renew = true;
  int start_error = 0, renew_error = 0;  // errno
  int again = 0, renew_again = 0;  // so many calls of send_record() and renew() answer EAGAIN first
  int starts = 0, renewals = 0;
  uint64_t first_sequence_told = 0;  // added to what progress() says of sequence numbers
  size_t asked = 0;  // calls of progress()

  bool renews() const override { return can_renew; }
  int start(int fd, const io::KernelTlsKeys& keys, uint64_t& tcp_bytes) override;
  int renew(int fd, const io::KernelTlsKeys& keys) override;
  int send_record(int fd, uint8_t type, std::span<const uint8_t> content) override;
  bool progress(int fd, Progress& progress) override;

 private:
  friend class SimLoop;
  bool push(SimLoop::Descriptor& d);  // false: TCP has not taken all
  void push_later(int fd);
  void write_record(SimLoop::Descriptor& d, uint8_t type, const std::string& content);

  SimLoop& loop_;
};

// What a peer reads of such records.
struct SimRecord {
  uint8_t type;
  std::string content;
  uint64_t key, sequence;
};
std::string make_record(const SimRecord& record);
// Takes whole records off the front of `bytes`; false: they are none.
bool read_records(std::string& bytes, std::vector<SimRecord>& records);
// As SimTlsState::key.
uint64_t key_of(const io::KernelTlsKeys& keys);

}  // namespace sluice::sim
