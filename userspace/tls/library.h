#pragma once

#include <openssl/types.h>

// The cryptographic library behind this folder, and what makes it faster. Everything works without: see README.md.
namespace sluice::tls {

// The library context that TLS uses, one for the process: OpenSSL's default provider with three changes, made by its public
// provider interface (provider(7)); the plain default context where that cannot be had.
OSSL_LIB_CTX* library();

// While it lives, the thread's default context is library(): parts of OpenSSL that are told of none (parsing sessions) use
// it too. Cheap.
class LibraryScope {
 public:
  LibraryScope();
  ~LibraryScope();
  LibraryScope(const LibraryScope&) = delete;

 private:
  OSSL_LIB_CTX* before_;
};

}  // namespace sluice::tls
