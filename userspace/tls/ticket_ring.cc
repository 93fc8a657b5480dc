#include "tls/ticket_ring.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "tls/check.h"

namespace sluice::tls {
namespace {

bool init_mac(EVP_MAC_CTX* mac, const std::array<uint8_t, 32>& key) {
  char sha256[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<uint8_t*>(key.data()), key.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, params) == 1;
}

}  // namespace

TicketRing::~TicketRing() {
  for (Key& k : keys_) OPENSSL_cleanse(&k, sizeof k);
}

Result<TicketRing> TicketRing::make(const TicketKeys& keys) {
  if (keys.keys.empty()) return Error{"session ticket keys: there is none"};
  TicketRing ring;
  ring.keys_.reserve(keys.keys.size());  // so that none is left behind by growing
  for (const std::string& k : keys.keys) {
    if (k.size() != kKeySize) {
      return Error{"Incorrect TLS session ticket key length. Length " + std::to_string(k.size()) +
                   ", expected length " + std::to_string(kKeySize) + "."};
    }
    Key& key = ring.keys_.emplace_back();
    std::memcpy(key.name.data(), k.data(), 16);
    std::memcpy(key.hmac.data(), k.data() + 16, 32);
    std::memcpy(key.aes.data(), k.data() + 48, 32);
  }
  return ring;
}

TicketRing TicketRing::random(const TicketRing* previous) {
  TicketRing ring;
  ring.keys_.reserve(2);
  Key& key = ring.keys_.emplace_back();
  const bool ok = RAND_bytes(key.name.data(), 16) == 1 && RAND_priv_bytes(key.hmac.data(), 32) == 1 &&
                  RAND_priv_bytes(key.aes.data(), 32) == 1;
  if (!ok) ring.keys_.clear();  // no entropy: no tickets
  if (previous && !previous->keys_.empty()) ring.keys_.push_back(previous->keys_.front());
  return ring;
}

int TicketRing::process(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                        bool encrypt) const {
  static const EVP_CIPHER* const aes = EVP_CIPHER_fetch(library(), "AES-256-CBC", nullptr);  // looked up once
  if (encrypt) {
    if (keys_.empty()) return 0;
    const Key& k = keys_.front();
    std::memcpy(name, k.name.data(), k.name.size());
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1) return -1;
    return EVP_EncryptInit_ex(cipher, aes, nullptr, k.aes.data(), iv) == 1 && init_mac(mac, k.hmac) ? 1 : -1;
  }
  for (const Key& k : keys_) {
    if (std::memcmp(name, k.name.data(), k.name.size()) != 0) continue;
    if (EVP_DecryptInit_ex(cipher, aes, nullptr, k.aes.data(), iv) != 1 || !init_mac(mac, k.hmac)) return -1;
    return &k == keys_.data() ? 1 : 2;
  }
  return 0;
}

TicketRingPtr process_tickets(WallTime now) {
  static std::mutex mutex;
  static TicketRingPtr current;
  static WallTime since;
  std::lock_guard lock(mutex);
  if (!current || now - since > std::chrono::hours(24) || now < since) {
    current = std::make_shared<const TicketRing>(TicketRing::random(current.get()));
    since = now;
  }
  return current;
}

Status check(const TicketKeys& keys) {
  auto ring = TicketRing::make(keys);
  if (!ring.ok()) return std::move(ring).error();
  return {};
}

}  // namespace sluice::tls
