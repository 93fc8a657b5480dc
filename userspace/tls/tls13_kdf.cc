// The hashes are called directly, without a context that is looked up and allocated: that is what this is for.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls/tls13_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace sluice::tls {
namespace {

using Bytes = std::span<const uint8_t>;

struct Sha256 {
  static constexpr size_t kSize = SHA256_DIGEST_LENGTH, kBlock = SHA256_CBLOCK;
  SHA256_CTX c;
  Sha256() { SHA256_Init(&c); }
  void add(Bytes b) { SHA256_Update(&c, b.data(), b.size()); }
  void end(uint8_t* out) { SHA256_Final(out, &c); }
};
struct Sha384 {
  static constexpr size_t kSize = SHA384_DIGEST_LENGTH, kBlock = SHA512_CBLOCK;
  SHA512_CTX c;
  Sha384() { SHA384_Init(&c); }
  void add(Bytes b) { SHA384_Update(&c, b.data(), b.size()); }
  void end(uint8_t* out) { SHA384_Final(out, &c); }
};

// RFC 2104. The key is no longer than a block: it is a hash's output, or the salt.
template <typename Hash, typename... Parts>
void hmac(uint8_t* out, Bytes key, Parts... parts) {
  uint8_t pad[Hash::kBlock], inner_sum[Hash::kSize];
  auto fill = [&](uint8_t x) {
    std::fill(std::begin(pad), std::end(pad), x);
    for (size_t i = 0; i < key.size(); ++i) pad[i] ^= key[i];
  };
  Hash inner, outer;
  fill(0x36);
  inner.add(pad);
  (inner.add(parts), ...);
  inner.end(inner_sum);
  fill(0x5c);
  outer.add(pad);
  outer.add(inner_sum);
  outer.end(out);
  OPENSSL_cleanse(pad, sizeof pad);
  OPENSSL_cleanse(inner_sum, sizeof inner_sum);
  OPENSSL_cleanse(&inner, sizeof inner);
  OPENSSL_cleanse(&outer, sizeof outer);
}

struct Kdf {
  int mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
  bool sha384 = false;
  // Borrowed from the parameters of the call that derives.
  Bytes key, salt, prefix, label, data;
};

// HKDF-Expand-Label, for at most one block: TLS never asks for more.
template <typename Hash>
bool expand(Bytes key, Bytes prefix, Bytes label, Bytes data, uint8_t* out, size_t n) {
  const size_t name = prefix.size() + label.size();
  if (n > Hash::kSize || name > 255 || data.size() > 255 || key.size() > Hash::kBlock) return false;
  uint8_t head[3 + 255 + 1], block[Hash::kSize];
  size_t at = 0;
  head[at++] = static_cast<uint8_t>(n >> 8);
  head[at++] = static_cast<uint8_t>(n);
  head[at++] = static_cast<uint8_t>(name);
  for (Bytes b : {prefix, label}) {
    std::copy(b.begin(), b.end(), head + at);
    at += b.size();
  }
  head[at++] = static_cast<uint8_t>(data.size());
  const uint8_t one[] = {1};
  hmac<Hash>(block, key, Bytes(head, at), data, Bytes(one));
  std::copy_n(block, n, out);
  OPENSSL_cleanse(block, sizeof block);
  return true;
}

// HKDF-Extract, whose salt is derived from the secret before it.
template <typename Hash>
bool extract(const Kdf& k, uint8_t* out, size_t n) {
  if (n != Hash::kSize) return false;
  static constexpr uint8_t kZeros[Hash::kSize] = {};
  uint8_t derived[Hash::kSize], empty[Hash::kSize];
  Bytes salt(kZeros);
  if (!k.salt.empty()) {
    Hash().end(empty);
    if (!expand<Hash>(k.salt, k.prefix, k.label, empty, derived, sizeof derived)) return false;
    salt = derived;
  }
  hmac<Hash>(out, salt, k.key.empty() ? Bytes(kZeros) : k.key);
  OPENSSL_cleanse(derived, sizeof derived);
  return true;
}

template <typename Hash>
bool derive(const Kdf& k, uint8_t* out, size_t n) {
  if (k.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY) return expand<Hash>(k.key, k.prefix, k.label, k.data, out, n);
  return k.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY && extract<Hash>(k, out, n);
}

bool read(Kdf& k, const OSSL_PARAM* p) {
  for (; p && p->key; ++p) {
    const std::string_view name(p->key);
    const Bytes bytes(static_cast<const uint8_t*>(p->data), p->data ? p->data_size : 0);
    if (name == OSSL_KDF_PARAM_MODE) {
      if (!OSSL_PARAM_get_int(p, &k.mode)) return false;
    } else if (name == OSSL_KDF_PARAM_DIGEST) {
      const auto* digest = static_cast<const char*>(p->data);
      k.sha384 = strcasecmp(digest, "SHA384") == 0 || strcasecmp(digest, "SHA2-384") == 0;
      if (!k.sha384 && strcasecmp(digest, "SHA256") != 0 && strcasecmp(digest, "SHA2-256") != 0) return false;
    } else if (name == OSSL_KDF_PARAM_KEY) {
      k.key = bytes;
    } else if (name == OSSL_KDF_PARAM_SALT) {
      k.salt = bytes;
    } else if (name == OSSL_KDF_PARAM_PREFIX) {
      k.prefix = bytes;
    } else if (name == OSSL_KDF_PARAM_LABEL) {
      k.label = bytes;
    } else if (name == OSSL_KDF_PARAM_DATA) {
      k.data = bytes;
    }
  }
  return true;
}

void* make(void*) {
  return new Kdf;
}
void free(void* k) {
  delete static_cast<Kdf*>(k);
}
void reset(void* k) {
  *static_cast<Kdf*>(k) = {};
}
// What bytes there are is only borrowed while a key is derived: TLS gives everything then.
int set(void* context, const OSSL_PARAM params[]) {
  Kdf k = *static_cast<Kdf*>(context);
  if (!read(k, params) || k.key.data() || k.salt.data() || k.prefix.data() || k.label.data() || k.data.data())
    return 0;
  *static_cast<Kdf*>(context) = k;
  return 1;
}
int run(void* context, unsigned char* out, size_t n, const OSSL_PARAM params[]) {
  Kdf& k = *static_cast<Kdf*>(context);
  if (!read(k, params)) return 0;
  const bool ok = k.sha384 ? derive<Sha384>(k, out, n) : derive<Sha256>(k, out, n);
  k.key = k.salt = k.prefix = k.label = k.data = {};  // theirs, and soon gone
  return ok;
}
const OSSL_PARAM* settable(void*, void*) {
  static const OSSL_PARAM kList[] = {OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, nullptr),
                                     OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, nullptr, 0),
                                     OSSL_PARAM_octet_string(OSSL_KDF_PARAM_DATA, nullptr, 0),
                                     OSSL_PARAM_END};
  return kList;
}
int get(void*, OSSL_PARAM[]) {
  return 1;
}

}  // namespace

const OSSL_DISPATCH* tls13_kdf() {
  using Function = void (*)();
  static const OSSL_DISPATCH kTable[] = {
      {OSSL_FUNC_KDF_NEWCTX, reinterpret_cast<Function>(make)},
      {OSSL_FUNC_KDF_FREECTX, reinterpret_cast<Function>(free)},
      {OSSL_FUNC_KDF_RESET, reinterpret_cast<Function>(reset)},
      {OSSL_FUNC_KDF_DERIVE, reinterpret_cast<Function>(run)},
      {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, reinterpret_cast<Function>(settable)},
      {OSSL_FUNC_KDF_SET_CTX_PARAMS, reinterpret_cast<Function>(set)},
      {OSSL_FUNC_KDF_GET_CTX_PARAMS, reinterpret_cast<Function>(get)},
      {0, nullptr}};
  return kTable;
}

}  // namespace sluice::tls
