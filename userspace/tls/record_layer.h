#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/buffer.h"
#include "io/kernel_tls.h"
#include "tls/openssl.h"

namespace sluice::tls {

// TLS 1.3's record protection (RFC 8446 section 5) for a connection whose handshake is over. It takes the library's place
// there: it decrypts where the bytes lie and encrypts from where they lie, without a copy of either, and is a tenth of the
// size of the library's object, which need not be kept beside it.
class RecordLayer {
 public:
  enum class Outcome : uint8_t {
    ok,
    ended,  // close_notify
    failed,  // see failure(); the alert is in `out`
  };
  // Both directions of one connection. Secrets are the application traffic secrets.
  struct Keys {
    uint16_t suite = 0;  // IANA's number, 0x1301 to 0x1303
    std::span<const uint8_t> read_secret, write_secret;
    uint64_t written = 0;  // records that were written under `write_secret` already (session tickets)
  };

  // Null: a suite that it does not know.
  static std::unique_ptr<RecordLayer> make(const Keys& keys);
  ~RecordLayer();
  RecordLayer(const RecordLayer&) = delete;

  // Takes whole records off `in`; what they hold for the application goes to `plain`, what is to be answered to `out`.
  Outcome open(Buffer& in, Buffer& plain, BlockPool& blocks, Buffer& out);
  // The first `n` bytes of `plain`, in records of 16 KiB at most.
  void seal(Buffer& plain, size_t n, BlockPool& blocks, Buffer& out);
  void close_notify(BlockPool& blocks, Buffer& out);
  const std::string& failure() const { return failure_; }

  // ---- the kernel writes the records: see ext::TransportSocket ----
  bool kernel_keys(io::KernelTlsKeys& keys) const;
  // `renews`: it can be given the keys that follow; otherwise nothing of the present ones is kept.
  void leave_writing(bool renews);
  void on_kernel_sequence(uint64_t sequence);
  std::string_view key_update() const;
  void on_key_update_sent();
  void on_renewal_failed(BlockPool& blocks, Buffer& out);

 private:
  // One direction.
  struct Half;

  RecordLayer();
  Outcome open_record(Buffer& in, uint32_t length, Buffer& plain, BlockPool& blocks, Buffer& out);
  Outcome handshake(std::span<const uint8_t> bytes, BlockPool& blocks, Buffer& out);
  Outcome alert(std::span<const uint8_t> message);
  Outcome fail(uint8_t alert, unsigned reason, const char* name, BlockPool& blocks, Buffer& out);
  void write_small(uint8_t type, std::span<const uint8_t> bytes, BlockPool& blocks, Buffer& out);
  void renew_write_key(BlockPool& blocks, Buffer& out);

  std::unique_ptr<Half> read_, write_;
  uint32_t quiet_ = 0;  // records in a row that brought the application nothing
  uint8_t begun_ = 0;  // bytes of a KeyUpdate whose rest is in the next record
  bool by_kernel_ = false;  // it writes the records; write_ has the secret and no cipher
  bool update_due_ = false;  // then: a KeyUpdate of ours
  std::string failure_;
};

// A connection's application traffic secrets, as they pass by the library's key log while it shakes hands. Wiped at the end.
class TrafficSecrets {
 public:
  ~TrafficSecrets();
  // A line of the NSS key log format.
  void note(std::string_view line);
  bool complete() const { return client_size_ > 0 && server_size_ == client_size_; }
  std::span<const uint8_t> client() const { return {client_, client_size_}; }
  std::span<const uint8_t> server() const { return {server_, server_size_}; }

 private:
  static size_t parse(std::string_view hex, uint8_t* to);
  uint8_t client_[48], server_[48];
  size_t client_size_ = 0, server_size_ = 0;
};

}  // namespace sluice::tls
