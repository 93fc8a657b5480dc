#include "server/authorities.h"

#include <fstream>

#include "config/translate_secret.h"
#include "tls/check.h"

namespace sluice::server {
namespace {

constexpr size_t kMaxFile = 1 << 20;  // bytes; chains are a few KB

}  // namespace

Result<std::string> read_secret_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return errno_error(errno, path);
  std::string out;
  char block[4096];
  while (out.size() <= kMaxFile && (in.read(block, sizeof(block)) || in.gcount() > 0))
    out.append(block, static_cast<size_t>(in.gcount()));
  if (out.empty()) return Error{path + ": is empty"};
  if (out.size() > kMaxFile) return Error{path + ": has more than 1 MiB"};
  return out;
}

Result<std::shared_ptr<const Authority>> Authorities::load(const std::string& folder) {
  const std::string path = folder + "/ca-cert.pem";
  SLUICE_ASSIGN(std::string root, read_secret_file(path));
  SLUICE_ASSIGN(std::string key, read_secret_file(folder + "/ca-key.pem"));
  auto& known = known_[folder];
  if (known && known->ca.certificate() == root && known->ca.private_key() == key) return known;
  known.reset();
  tls::Validation trust;
  trust.ca_name = path;
  trust.trusted_ca = root;
  SLUICE_TRY(tls::check(trust));
  SLUICE_ASSIGN(auto ca, tls::DevelopmentCa::load(std::move(root), std::move(key)));
  known = std::make_shared<const Authority>(std::move(ca), config::make_secret(std::move(trust)).validation);
  return known;
}

}  // namespace sluice::server
