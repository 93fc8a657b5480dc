#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/result.h"
#include "tls/ca.h"
#include "tls/secret.h"

namespace sluice::server {

// A file of secrets, whole. Errors: cannot be read, is empty, has more than 1 MiB.
Result<std::string> read_secret_file(const std::string& path);

// A development CA, and what those trust who have a certificate of it.
struct Authority {
  tls::DevelopmentCa ca;
  std::shared_ptr<const tls::Validation> trust;
};

// The development CAs of a node, by folder (`sluicectl ca init`). What is read stays parsed, so that a thousand workloads
// of one CA read its key once, and share their trust. Control thread.
class Authorities {
 public:
  // The same object as before while the folder's contents are the same.
  Result<std::shared_ptr<const Authority>> load(const std::string& folder);
  void forget_all() { known_.clear(); }

 private:
  std::map<std::string, std::shared_ptr<const Authority>> known_;
};

}  // namespace sluice::server
