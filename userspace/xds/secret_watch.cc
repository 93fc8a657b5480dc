#include "xds/secret_watch.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "extensions/common/proto_secret.h"

namespace sluice::xds {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

namespace {

// Envoy's: how often files are read again that change while they are read.
constexpr int kStableReads = 5;

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// What is kept for /config_dump, and to read files again: a key that came inside it is not needed for either. (One that
// comes beside files is: it is read with them again.)
std::shared_ptr<const google::protobuf::Message> without_keys(const v3::Secret& secret) {
  auto out = std::make_shared<v3::Secret>(secret);
  if (!extensions::secret_files(secret).files.empty()) return out;
  auto hide = [](auto* source) {
    if (source->has_inline_string()) {
      extensions::wipe(*source->mutable_inline_string());
      source->set_inline_string("[redacted]");
    } else if (source->has_inline_bytes()) {
      extensions::wipe(*source->mutable_inline_bytes());
      source->set_inline_bytes("[redacted]");
    }
  };
  if (out->has_tls_certificate()) {
    auto* c = out->mutable_tls_certificate();
    if (c->has_private_key()) hide(c->mutable_private_key());
    if (c->has_pkcs12()) hide(c->mutable_pkcs12());
    if (c->has_password()) hide(c->mutable_password());
  }
  if (out->has_session_ticket_keys())
    for (auto& key : *out->mutable_session_ticket_keys()->mutable_keys()) hide(&key);
  return out;
}

bool names_files(const Resource& resource) {
  const auto message = resource.unpack();
  return message.ok() && !extensions::secret_files(static_cast<const v3::Secret&>(**message)).files.empty();
}

bool has(const config::Secret& secret, std::string_view field) {
  if (field == config::kSecretField<tls::Certificate>) return secret.certificate != nullptr;
  if (field == config::kSecretField<tls::Validation>) return secret.validation != nullptr;
  return secret.ticket_keys != nullptr;
}

}  // namespace

SecretWatch::SecretWatch(SecretSurroundings& around, std::string name, model::ConfigSource source,
                         const char* field, std::function<void(const config::Secret*)> on_change)
    : around_(around),
      source_(std::move(source)),
      field_(field),
      on_change_(std::move(on_change)),
      scope_(around.root.scope("sds").scope(name)),
      key_rotation_failed_(scope_.counter("key_rotation_failed")),
      rotate_(&rotate, this) {
  view_.name = std::move(name);
  view_.version = "uninitialized";
  view_.at = around_.loop.wall_now();
}

SecretWatch::~SecretWatch() = default;

Status SecretWatch::start() {
  SLUICE_ASSIGN(subscription_, around_.factory->subscribe(source_, ResourceType::secret, *this, scope_));
  subscription_->start({view_.name});
  return {};
}

Status SecretWatch::on_update(const Update& update) {
  if (update.resources.empty()) {
    // A secret goes with who uses it, not because a control plane says so; as in Envoy.
    SLUICE_LOG(config, debug, "sds: secret '{}' is not in the answer", view_.name);
    set_ready();
    return {};
  }
  if (update.resources.size() > 1 || update.removed.size() > 1)
    return Error{"Unexpected SDS secrets length for " + view_.name + ", number of added resources " +
                 std::to_string(update.resources.size()) + ", number of removed resources " +
                 std::to_string(update.removed.size()) + ". Expected sum is 1"};
  const Resource& resource = update.resources.front();
  if (resource.name != view_.name)
    return Error{"Unexpected SDS secret (expecting " + view_.name + "): " + std::string(resource.name)};
  // Envoy says yes to what it has refused before and gets again, as to anything unchanged: a server that answers each NACK
  // with the same secret would go round in circles with us. Files that it names may be better now.
  if (!view_.refused.empty() && resource.hash == refused_hash_) return {};
  Status outcome = take(resource);
  if (!outcome) {
    view_.refused = outcome.error().message;
    view_.refused_version = resource.version;
    view_.refused_at = around_.loop.wall_now();
    refused_hash_ = names_files(resource) ? 0 : resource.hash;
    SLUICE_LOG(config, warn, "sds: secret '{}' of version '{}' is refused: {}", view_.name, resource.version,
               view_.refused);
    return std::move(outcome).error().prefixed("secret '" + view_.name + "'");
  }
  view_.refused.clear();
  view_.version = resource.version;
  view_.at = around_.loop.wall_now();
  set_ready();
  return {};
}

Status SecretWatch::take(const Resource& resource) {
  if (view_.message && resource.hash == hash_) return {};
  SLUICE_ASSIGN(auto message, resource.unpack());
  SLUICE_ASSIGN(config::Secret secret, around_.resources->secret(*message));
  if (!has(secret, field_)) return Error{std::string("has no ") + field_ + ", which is what it is used as"};
  hash_ = resource.hash;
  view_.message = without_keys(static_cast<const v3::Secret&>(*message));
  if (Status s = watch_files(); !s)
    SLUICE_LOG(config, warn, "sds: secret '{}': {}; its files are read once", view_.name, s.error().message);
  SLUICE_LOG(config, info, "sds: secret '{}' is at version '{}'", view_.name, resource.version);
  set(std::move(secret));
  return {};
}

Status SecretWatch::watch_files() {
  registrations_.clear();
  const extensions::SecretFiles named =
      extensions::secret_files(static_cast<const v3::Secret&>(*view_.message));
  if (named.files.empty()) return {};
  std::vector<std::string> directories;
  for (const std::string& file : named.files)
    directories.push_back(named.directory.empty() ? directory_of(file) : named.directory);
  std::ranges::sort(directories);
  directories.erase(std::unique(directories.begin(), directories.end()), directories.end());
  if (!around_.files) {
    SLUICE_ASSIGN(around_.files, FileWatch::make(around_.loop));
  }
  for (const std::string& directory : directories) {
    SLUICE_ASSIGN(auto registration, around_.files->watch(directory, [this](std::string_view) {
      around_.loop.schedule(rotate_);
    }));
    registrations_.push_back(std::move(registration));
  }
  return {};
}

// Certificate and key are two files: read until two readings in a row are equal.
Result<config::Secret> SecretWatch::read_stable() const {
  SLUICE_ASSIGN(config::Secret secret, around_.resources->secret(*view_.message));
  for (int i = 0; i < kStableReads; ++i) {
    SLUICE_ASSIGN(config::Secret again, around_.resources->secret(*view_.message));
    if (again.hash == secret.hash) return again;
    secret = std::move(again);
  }
  return Error{"its files change faster than they can be read"};
}

void SecretWatch::rotate(io::TurnEnd& hook) {
  SecretWatch& self = *hook.owner<SecretWatch>();
  if (!self.view_.message) return;
  auto secret = self.read_stable();
  if (!secret.ok()) {
    self.key_rotation_failed_.add();
    SLUICE_LOG(config, warn, "sds: secret '{}': Failed to reload certificates: {}", self.view_.name,
               secret.error().message);
    return;
  }
  if (secret->hash == self.view_.secret.hash) return;
  SLUICE_LOG(config, info, "sds: secret '{}': its files have changed", self.view_.name);
  self.view_.at = self.around_.loop.wall_now();
  self.set(std::move(*secret));
}

void SecretWatch::set(config::Secret secret) {
  view_.secret = std::move(secret);
  on_change_(&view_.secret);
}

void SecretWatch::set_ready() {
  if (std::exchange(ready_, true)) return;
  on_change_(nullptr);
  if (around_.on_ready) around_.on_ready();
}

// With a time-out, and with a first answer that was refused, who waits goes on, and fails closed.
void SecretWatch::on_failure(FetchFailure) {
  set_ready();
}

}  // namespace sluice::xds
