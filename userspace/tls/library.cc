#include "tls/library.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tls/errors.h"
#include "tls/tls13_kdf.h"

// OpenSSL 3.0 spends more of a handshake on finding algorithms and on needless checks than on cryptography: a quarter of it
// goes with
//  - a check of the peer's P-256 key share that does not multiply it by the group's order: the curve has cofactor 1, so that
//    a point on it (which decoding has made sure of) that is not infinity is in the group;
//  - a TLS13-KDF that does not look up a hash for each of its steps (tls13_kdf.cc);
//  - decoders of keys for what certificates hold, and no others: each further one is tried on every certificate.
namespace sluice::tls {
namespace {

OSSL_PROVIDER* base = nullptr;  // the default provider, in a context of its own

bool named(const char* names, std::initializer_list<std::string_view> any) {
  std::string_view rest(names);
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    for (std::string_view n : any)
      if (rest.substr(0, end) == n) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

bool wanted(int operation, const OSSL_ALGORITHM& a) {
  const std::string_view property = a.property_definition ? a.property_definition : "";
  switch (operation) {
    case OSSL_OP_KEYMGMT:
    case OSSL_OP_SIGNATURE:
    case OSSL_OP_KEYEXCH:
      return named(a.algorithm_names, {"EC", "ECDSA", "ECDH", "RSA", "RSA-PSS", "X25519", "X448", "ED25519",
                                       "ED448", "HMAC", "TLS1-PRF", "HKDF"});
    case OSSL_OP_DECODER:
      return named(a.algorithm_names, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"}) &&
             property.find("structure=SubjectPublicKeyInfo") != property.npos;
    case OSSL_OP_ENCODER:
      return false;
    default:
      return true;
  }
}

using Validate = int (*)(const void*, int, int);
Validate validate_curve = nullptr;

int validate_quickly(const void* key, int selection, int /*how*/) {
  return validate_curve(key, selection, OSSL_KEYMGMT_VALIDATE_QUICK_CHECK);
}

// The default provider's table of one operation, with our changes. Made once an operation, kept for ever.
const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  static std::mutex mutex;
  static auto& tables = *new std::vector<std::vector<OSSL_ALGORITHM>>(64);
  static auto& functions = *new std::deque<std::vector<OSSL_DISPATCH>>();
  const OSSL_ALGORITHM* all = OSSL_PROVIDER_query_operation(base, operation, no_cache);
  if (!all || operation < 0 || operation >= static_cast<int>(tables.size())) return all;
  std::lock_guard lock(mutex);
  std::vector<OSSL_ALGORITHM>& table = tables[static_cast<size_t>(operation)];
  if (!table.empty()) return table.data();
  for (const OSSL_ALGORITHM* a = all; a->algorithm_names; ++a) {
    if (!wanted(operation, *a)) continue;
    OSSL_ALGORITHM copy = *a;
    if (operation == OSSL_OP_KDF && named(a->algorithm_names, {"TLS13-KDF"}))
      copy.implementation = tls13_kdf();
    if (operation == OSSL_OP_KEYMGMT && named(a->algorithm_names, {"EC"})) {
      auto& changed = functions.emplace_back();
      for (const OSSL_DISPATCH* f = a->implementation; f->function_id; ++f) {
        changed.push_back(*f);
        if (f->function_id != OSSL_FUNC_KEYMGMT_VALIDATE) continue;
        validate_curve = reinterpret_cast<Validate>(f->function);
        changed.back().function = reinterpret_cast<void (*)()>(validate_quickly);
      }
      changed.push_back({0, nullptr});
      copy.implementation = changed.data();
    }
    table.push_back(copy);
  }
  table.push_back({nullptr, nullptr, nullptr, nullptr});
  return table.data();
}

int capabilities(void*, const char* what, OSSL_CALLBACK* callback, void* arg) {
  return OSSL_PROVIDER_get_capabilities(base, what, callback, arg);
}

int init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH kTable[] = {
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(capabilities)},
      {0, nullptr}};
  *out = kTable;
  *context = OSSL_PROVIDER_get0_provider_ctx(base);
  return 1;
}

OSSL_LIB_CTX* make() {
  // Of OpenSSL 3.0 alone: what it speeds up has been changed in later ones.
  if (OPENSSL_version_major() != 3 || OPENSSL_version_minor() != 0) return nullptr;
  OSSL_LIB_CTX* own = OSSL_LIB_CTX_new();
  OSSL_LIB_CTX* ours = OSSL_LIB_CTX_new();
  base = own ? OSSL_PROVIDER_load(own, "default") : nullptr;
  const bool ok = base && ours && OSSL_PROVIDER_add_builtin(ours, "sluice", init) == 1 &&
                  OSSL_PROVIDER_load(ours, "sluice");
  clear_errors();
  return ok ? ours : nullptr;
}

}  // namespace

OSSL_LIB_CTX* library() {
  static OSSL_LIB_CTX* const context = make();  // for ever: sockets may outlive any other static object
  return context;
}

LibraryScope::LibraryScope() : before_(library() ? OSSL_LIB_CTX_set0_default(library()) : nullptr) {}
LibraryScope::~LibraryScope() {
  if (before_) OSSL_LIB_CTX_set0_default(before_);
}

}  // namespace sluice::tls
