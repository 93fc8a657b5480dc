#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/time.h"

// Certificates made while a test runs. Deterministic but for the keys.
namespace sluice::test {

enum class KeyKind : uint8_t { p256, p384, rsa2048, rsa1024 };

struct CertificateOptions {
  std::string common_name = {};  // "": an empty subject
  // "DNS:a.example", "URI:spiffe://td/ns/a/sa/b", "IP:10.0.0.1", "email:a@b", "otherName:1.2.3.4;UTF8:text"
  std::vector<std::string> sans = {};
  KeyKind key = KeyKind::p256;
  // Validity around `now` of the CA.
  std::chrono::seconds starts{-3600}, ends{86400};
  std::string key_usage = "digitalSignature";  // OpenSSL's words, comma separated; "": none
  std::string extended_key_usage = "serverAuth,clientAuth";  // "": none
  bool must_staple = false;
  int64_t serial = 0;  // 0: the next one
};

struct PemPair {
  std::string certificate;  // the leaf alone
  std::string chain;  // the leaf and what leads to the root, without the root
  std::string key;
  int64_t serial = 0;
};

// A CA, or one below it.
class TestCa {
 public:
  // `now`: what validity is counted from; a certificate of the CA's own holds for ten years around it.
  explicit TestCa(std::string name, WallTime now = std::chrono::system_clock::now(),
                  KeyKind key = KeyKind::p256);
  TestCa(TestCa&&) noexcept;
  ~TestCa();
  TestCa intermediate(std::string name) const;
  PemPair issue(const CertificateOptions& options) const;
  const std::string& pem() const;  // its own certificate
  std::string key_pem() const;
  std::string crl(const std::vector<int64_t>& revoked) const;  // PEM; good for a day
  // DER; for the certificate of that serial. `ends`: nextUpdate, from now.
  std::string ocsp(const PemPair& of, std::chrono::seconds ends) const;

 private:
  struct Impl;
  explicit TestCa(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

std::string pkcs12(const PemPair& pair, const std::string& password);  // DER
std::string encrypted_key(const PemPair& pair, const std::string& password);  // PEM
std::string sha256_of_certificate(const PemPair& pair);  // 32 bytes
std::string sha256_of_public_key(const PemPair& pair);

}  // namespace sluice::test
