#pragma once
// A provider for OpenSSL 3 that is the default provider with three changes, by its public interface alone: fewer key
// managers and decoders (a certificate's key is found sooner), a quick check of P-256 keys in place of a second scalar
// multiplication, and a TLS13-KDF of its own. A library context has it in place of the default provider.
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/sha.h>
#include <strings.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "tls_micro_base.h"  // first: it says which API of OpenSSL is meant

namespace tls_micro {

inline int g_overlay = 0;
inline OSSL_LIB_CTX* g_base_ctx = nullptr;
inline OSSL_PROVIDER* g_base = nullptr;

inline bool named(const char* names, std::initializer_list<const char*> any) {
  const std::string all = std::string(":") + names + ":";
  for (const char* n : any)
    if (all.find(std::string(":") + n + ":") != std::string::npos) return true;
  return false;
}
inline bool wanted(int op, const OSSL_ALGORITHM& a) {
  const std::string property = a.property_definition ? a.property_definition : "";
  switch (op) {
    case OSSL_OP_KEYMGMT:
    case OSSL_OP_SIGNATURE:
    case OSSL_OP_KEYEXCH:
      return named(a.algorithm_names, {"EC", "RSA", "RSA-PSS", "ECDSA", "ECDH", "X25519", "ED25519", "HMAC",
                                       "TLS1-PRF", "HKDF"});
    case OSSL_OP_DECODER:
      return named(a.algorithm_names, {"EC", "RSA", "RSA-PSS", "ED25519"}) &&
             property.find("structure=SubjectPublicKeyInfo") != std::string::npos;
    case OSSL_OP_ENCODER:
      return false;
    default:
      return true;
  }
}
inline int (*g_curve_check)(const void*, int, int) = nullptr;
// P-256 has cofactor 1: a point on the curve (decoding has checked that) that is not at infinity is in the group.
inline int quick_validate(const void* key, int selection, int) {
  return g_curve_check(key, selection, OSSL_KEYMGMT_VALIDATE_QUICK_CHECK);
}

// TLS13-KDF (RFC 8446, 7.1) for SHA-256 and SHA-384 without fetches, contexts and parameters inside.
struct Hash {
  size_t size, block;
  template <class... Parts>
  void operator()(uint8_t* out, std::span<const uint8_t> key, Parts... parts) const {  // HMAC
    uint8_t pad[128];
    const auto fill = [&](uint8_t x) {
      std::memset(pad, x, block);
      for (size_t i = 0; i < key.size(); ++i) pad[i] ^= key[i];
    };
    uint8_t inner[64];
    if (size == 32) {
      SHA256_CTX c;
      fill(0x36), SHA256_Init(&c), SHA256_Update(&c, pad, block);
      (SHA256_Update(&c, parts.data(), parts.size()), ...);
      SHA256_Final(inner, &c);
      fill(0x5c), SHA256_Init(&c), SHA256_Update(&c, pad, block), SHA256_Update(&c, inner, size),
          SHA256_Final(out, &c);
    } else {
      SHA512_CTX c;
      fill(0x36), SHA384_Init(&c), SHA384_Update(&c, pad, block);
      (SHA384_Update(&c, parts.data(), parts.size()), ...);
      SHA384_Final(inner, &c);
      fill(0x5c), SHA384_Init(&c), SHA384_Update(&c, pad, block), SHA384_Update(&c, inner, size),
          SHA384_Final(out, &c);
    }
  }
};
using Bytes = std::span<const uint8_t>;
struct Kdf {
  int mode = 0;
  Hash hash{32, 64};
  Bytes key, salt, prefix, label, data;  // borrowed from the parameters of this call
};
inline bool kdf_params(Kdf& k, const OSSL_PARAM* p) {
  for (; p && p->key; ++p) {
    const Bytes v{static_cast<const uint8_t*>(p->data), p->data_size};
    if (!std::strcmp(p->key, "mode"))
      OSSL_PARAM_get_int(p, &k.mode);
    else if (!std::strcmp(p->key, "digest")) {
      const char* name = static_cast<const char*>(p->data);
      const bool sha384 = !strcasecmp(name, "SHA384") || !strcasecmp(name, "SHA2-384");
      if (!sha384 && strcasecmp(name, "SHA256") && strcasecmp(name, "SHA2-256")) return false;
      k.hash = sha384 ? Hash{48, 128} : Hash{32, 64};
    } else if (!std::strcmp(p->key, "key"))
      k.key = v;
    else if (!std::strcmp(p->key, "salt"))
      k.salt = v;
    else if (!std::strcmp(p->key, "prefix"))
      k.prefix = v;
    else if (!std::strcmp(p->key, "label"))
      k.label = v;
    else if (!std::strcmp(p->key, "data"))
      k.data = v;
  }
  return true;
}
inline void kdf_expand(const Hash& h, Bytes key, Bytes prefix, Bytes label, Bytes data, uint8_t* out,
                       size_t n) {
  uint8_t head[2 + 1 + 255], t[64];
  size_t l = 0;
  head[l++] = n >> 8, head[l++] = n, head[l++] = prefix.size() + label.size();
  std::memcpy(head + l, prefix.data(), prefix.size()), l += prefix.size();
  std::memcpy(head + l, label.data(), label.size()), l += label.size();
  head[l++] = data.size();
  const uint8_t one = 1;
  h(t, key, Bytes(head, l), data, Bytes(&one, 1));  // TLS never asks for more than one block
  std::memcpy(out, t, n);
}
inline int kdf_derive(void* ctx, unsigned char* out, size_t n, const OSSL_PARAM params[]) {
  Kdf& k = *static_cast<Kdf*>(ctx);
  if (!kdf_params(k, params) || n > k.hash.size) return 0;
  if (k.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY) {
    kdf_expand(k.hash, k.key, k.prefix, k.label, k.data, out, n);
    return 1;
  }
  static const uint8_t zeros[64] = {};
  uint8_t salt[64], empty[64];
  Bytes s(zeros, k.hash.size);
  if (!k.salt.empty()) {
    k.hash.size == 32 ? SHA256(zeros, 0, empty) : SHA384(zeros, 0, empty);
    kdf_expand(k.hash, k.salt, k.prefix, k.label, Bytes(empty, k.hash.size), salt, k.hash.size);
    s = Bytes(salt, k.hash.size);
  }
  k.hash(out, s, k.key.empty() ? Bytes(zeros, k.hash.size) : k.key);
  return 1;
}
inline void* kdf_new(void*) {
  return new Kdf;
}
inline void kdf_free(void* k) {
  delete static_cast<Kdf*>(k);
}
inline void kdf_reset(void* k) {
  *static_cast<Kdf*>(k) = {};
}
inline int kdf_set(void* k, const OSSL_PARAM p[]) {
  return kdf_params(*static_cast<Kdf*>(k), p);
}
inline int kdf_get(void*, OSSL_PARAM[]) {
  return 1;
}
inline const OSSL_PARAM* kdf_settable(void*, void*) {
  static const OSSL_PARAM list[] = {OSSL_PARAM_int("mode", nullptr),
                                    OSSL_PARAM_utf8_string("digest", nullptr, 0),
                                    OSSL_PARAM_octet_string("key", nullptr, 0),
                                    OSSL_PARAM_octet_string("salt", nullptr, 0),
                                    OSSL_PARAM_octet_string("prefix", nullptr, 0),
                                    OSSL_PARAM_octet_string("label", nullptr, 0),
                                    OSSL_PARAM_octet_string("data", nullptr, 0),
                                    OSSL_PARAM_END};
  return list;
}
using Fn = void (*)();
inline const OSSL_DISPATCH kKdf[] = {{OSSL_FUNC_KDF_NEWCTX, reinterpret_cast<Fn>(kdf_new)},
                                     {OSSL_FUNC_KDF_FREECTX, reinterpret_cast<Fn>(kdf_free)},
                                     {OSSL_FUNC_KDF_RESET, reinterpret_cast<Fn>(kdf_reset)},
                                     {OSSL_FUNC_KDF_DERIVE, reinterpret_cast<Fn>(kdf_derive)},
                                     {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, reinterpret_cast<Fn>(kdf_settable)},
                                     {OSSL_FUNC_KDF_SET_CTX_PARAMS, reinterpret_cast<Fn>(kdf_set)},
                                     {OSSL_FUNC_KDF_GET_CTX_PARAMS, reinterpret_cast<Fn>(kdf_get)},
                                     {0, nullptr}};

inline const OSSL_ALGORITHM* overlay_query(void*, int op, int* no_cache) {
  static std::vector<OSSL_ALGORITHM> tables[32];
  static std::vector<std::vector<OSSL_DISPATCH>*> kept;
  const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(g_base, op, no_cache);
  if (!all || op >= 32) return all;
  std::vector<OSSL_ALGORITHM>& table = tables[op];
  table.clear();
  for (const OSSL_ALGORITHM* a = all; a->algorithm_names; ++a) {
    if ((g_overlay & kFewer) && !wanted(op, *a)) continue;
    OSSL_ALGORITHM copy = *a;
    if ((g_overlay & kFastKdf) && op == OSSL_OP_KDF && named(a->algorithm_names, {"TLS13-KDF"}))
      copy.implementation = kKdf;
    if ((g_overlay & kQuickCheck) && op == OSSL_OP_KEYMGMT && named(a->algorithm_names, {"EC"})) {
      auto* d = new std::vector<OSSL_DISPATCH>;
      for (const OSSL_DISPATCH* f = a->implementation; f->function_id; ++f) {
        d->push_back(*f);
        if (f->function_id == OSSL_FUNC_KEYMGMT_VALIDATE) {
          g_curve_check = reinterpret_cast<int (*)(const void*, int, int)>(f->function);
          d->back().function = reinterpret_cast<void (*)()>(quick_validate);
        }
      }
      d->push_back({0, nullptr});
      kept.push_back(d);
      copy.implementation = d->data();
    }
    table.push_back(copy);
  }
  table.push_back({nullptr, nullptr, nullptr, nullptr});
  return table.data();
}
inline int overlay_capabilities(void*, const char* what, OSSL_CALLBACK* cb, void* arg) {
  return OSSL_PROVIDER_get_capabilities(g_base, what, cb, arg);
}
inline int overlay_init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out,
                        void** provctx) {
  static const OSSL_DISPATCH table[] = {
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(overlay_query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(overlay_capabilities)},
      {0, nullptr}};
  if (!g_base) {
    g_base_ctx = OSSL_LIB_CTX_new();
    g_base = OSSL_PROVIDER_load(g_base_ctx, "default");
  }
  *out = table;
  *provctx = OSSL_PROVIDER_get0_provider_ctx(g_base);
  return 1;
}
inline OSSL_LIB_CTX* overlay_libctx(int what) {
  g_overlay = what;
  OSSL_LIB_CTX* c = OSSL_LIB_CTX_new();
  check(OSSL_PROVIDER_add_builtin(c, "overlay", overlay_init) == 1, "add_builtin");
  check(OSSL_PROVIDER_load(c, "overlay"), "overlay");
  OSSL_LIB_CTX_set0_default(c);  // of this thread: what is decoded without a context (sessions) finds it too
  return c;
}

}  // namespace tls_micro
