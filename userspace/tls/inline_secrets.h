#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "tls/secret.h"

namespace sluice::tls {

// The secrets that stand in TLS contexts themselves, for /certs: each while its context lives. From any thread.
class InlineSecret {
 public:
  // `path`: of the chain's file, or "<inline>".
  InlineSecret(std::shared_ptr<const Certificate> certificate, std::string path);
  explicit InlineSecret(std::shared_ptr<const Validation> validation);
  InlineSecret(const InlineSecret&) = delete;
  ~InlineSecret();

  struct View {
    std::shared_ptr<const Certificate> certificate;  // or
    std::shared_ptr<const Validation> validation;
    std::string path;  // of the certificate
  };
  static std::vector<View> all();  // in the order in which they came

 private:
  std::list<View>::iterator entry_;
};

}  // namespace sluice::tls
