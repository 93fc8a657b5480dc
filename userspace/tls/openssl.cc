#include "tls/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <climits>

namespace sluice::tls {

BioPtr reader(std::string_view bytes) {
  if (bytes.size() > INT_MAX) return nullptr;
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

X509Ptr read_certificate(BIO* pem) {
  X509* x = X509_new_ex(library(), nullptr);
  if (!PEM_read_bio_X509_AUX(pem, &x, [](char*, int, int, void*) { return 0; }, nullptr)) {
    X509_free(x);  // null where reading has freed it
    return nullptr;
  }
  return X509Ptr(x);
}

X509Ptr parse_certificate(std::string_view der) {
  X509* x = X509_new_ex(library(), nullptr);
  const auto* p = reinterpret_cast<const uint8_t*>(der.data());
  if (!d2i_X509(&x, &p, static_cast<long>(der.size()))) {
    X509_free(x);
    return nullptr;
  }
  return X509Ptr(x);
}

bool at_end_of_pem() {
  const unsigned long e = ERR_peek_last_error();
  if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE) return false;
  ERR_clear_error();
  return true;
}

std::string to_text(BIO* memory) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(memory, &data);
  return {data, static_cast<size_t>(std::max(0l, n))};
}

std::string hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string s;
  s.reserve(bytes.size() * 2);
  for (uint8_t b : bytes) {
    s += kDigits[b >> 4];
    s += kDigits[b & 15];
  }
  return s;
}

std::string digest(const EVP_MD* md, std::string_view bytes) {
  uint8_t out[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (!EVP_Digest(bytes.data(), bytes.size(), out, &n, md, nullptr)) n = 0;
  return {reinterpret_cast<char*>(out), n};
}

std::string der_of(X509* certificate) {
  uint8_t* der = nullptr;
  const int n = i2d_X509(certificate, &der);
  if (n < 0) return {};
  std::string s(reinterpret_cast<char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  return s;
}

WallTime to_wall(const ASN1_TIME* time) {
  static const ASN1_TIME* epoch = ASN1_TIME_set(nullptr, 0);
  int days = 0, seconds = 0;
  if (!ASN1_TIME_diff(&days, &seconds, epoch, time)) return {};
  // A WallTime counts nanoseconds in 64 bits and ends in the year 2262; some certificates are for ever.
  constexpr int64_t kLast = INT64_MAX / 1'000'000'000 / 86'400 - 1;
  const int64_t day = std::clamp<int64_t>(days, -kLast, kLast);
  return WallTime(std::chrono::seconds(day * 86'400 + seconds));
}

time_t to_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace sluice::tls
