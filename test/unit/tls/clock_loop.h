#pragma once

#include "io/loop.h"

namespace sluice::tls::test {

// A loop of which the engine uses the blocks and the wall clock alone; a turn runs what was posted.
class ClockLoop final : public io::Loop {
 public:
  WallTime wall{std::chrono::seconds(1'800'000'000)};
  ~ClockLoop() override { drop_work(); }
  void accept(io::Op&, int) override {}
  void connect(io::Op&, int, const Address&) override {}
  void recv(io::Op&, int, io::RecvOptions) override {}
  void send(io::Op&, int, std::span<const iovec>, int) override {}
  void poll(io::Op&, int, uint32_t) override {}
  void cancel(io::Op&) override {}
  Result<int> open_socket(int, const io::SocketOptions&, int) override { return Error{"none"}; }
  sluice::Status bind(int, const Address&) override { return {}; }
  sluice::Status listen(int, int) override { return {}; }
  void ignore_handshakes(int) override {}
  Address local_address(int) override { return {}; }
  Address peer_address(int) override { return {}; }
  sluice::Status set_options(int, const io::SocketOptions&) override { return {}; }
  void shutdown_write(int) override {}
  void close(int) override {}
  void close_reset(int) override {}
  WallTime wall_now() override { return wall; }
  void run_once(Duration) override { end_turn(); }
  std::string_view backend_name() const override { return "clock"; }

 private:
  void wake() override {}
  void read_clock() override {}
};

}  // namespace sluice::tls::test
