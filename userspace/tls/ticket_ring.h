#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "tls/openssl.h"
#include "tls/secret.h"

namespace sluice::tls {

// The keys that encrypt session tickets. RFC 5077 section 4.
class TicketRing {
 public:
  static constexpr size_t kKeySize = 80;
  struct Key {
    std::array<uint8_t, 16> name;
    std::array<uint8_t, 32> hmac, aes;
  };
  TicketRing() = default;
  TicketRing(TicketRing&&) = default;
  TicketRing& operator=(TicketRing&&) = default;
  ~TicketRing();  // wipes

  static Result<TicketRing> make(const TicketKeys& keys);  // not empty, 80 bytes each
  // Fresh random keys in front of the first of `previous`, which may be null.
  static TicketRing random(const TicketRing* previous);

  // For SSL_CTX_set_tlsext_ticket_key_evp_cb: 1: use it; 2: use it, and give a new ticket; 0: not ours; -1: failed.
  int process(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, bool encrypt) const;

 private:
  std::vector<Key> keys_;
};
using TicketRingPtr = std::shared_ptr<const TicketRing>;

// The process's own keys, for configurations that name none: all workers have the same, in memory alone. Replaced every
// day; tickets under the previous ones are taken (and renewed) for another day. From any thread.
TicketRingPtr process_tickets(WallTime now);

}  // namespace sluice::tls
