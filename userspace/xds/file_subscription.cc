#include "xds/file_subscription.h"

#include <deque>

#include "config/load.h"
#include "core/log.h"
#include "core/wyhash.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;

namespace {

// Directory and name, as inotify tells them.
std::pair<std::string, std::string> split(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

FileSubscription::FileSubscription(io::Loop& loop, std::shared_ptr<FileWatch> watch, std::string path,
                                   std::string watched_directory, ResourceType type, Subscriber& subscriber,
                                   const stats::Scope& scope)
    : loop_(loop),
      watch_(std::move(watch)),
      path_(std::move(path)),
      watched_directory_(std::move(watched_directory)),
      type_(type),
      subscriber_(subscriber),
      stats_(scope),
      refresh_(&refresh, this) {}

void FileSubscription::start(const std::unordered_set<std::string>& names) {
  names_ = names;
  const auto [directory, name] = split(path_);
  const bool whole = !watched_directory_.empty();
  auto registered =
      watch_->watch(whole ? watched_directory_ : directory, [this, whole, name](std::string_view moved) {
        // Several renames of one turn (a Kubernetes update swaps one link, an editor may do more) are one reading.
        if (whole || moved.empty() || moved == name) loop_.schedule(refresh_);
      });
  if (registered)
    registration_ = std::move(registered).value();
  else
    SLUICE_LOG(config, warn, "{}: {}; it is read once", path_, registered.error().message);
  loop_.schedule(refresh_);
}

void FileSubscription::set_names(const std::unordered_set<std::string>& names) {
  names_ = names;
  loop_.schedule(refresh_);
}

void FileSubscription::refresh(io::TurnEnd& hook) {
  hook.owner<FileSubscription>()->read();
}

void FileSubscription::read() {
  stats_.update_attempt.add();
  config::Sources sources;
  discovery::DiscoveryResponse response;
  if (Status s = config::load_file(path_, sources, response); !s) {
    SLUICE_LOG(config, warn, "Filesystem config update failure: {}", s.error().message);
    stats_.update_failure.add();
    subscriber_.on_failure(FetchFailure::rejected);
    return;
  }
  if (Status s = apply(response); !s) {
    SLUICE_LOG(config, warn, "Filesystem config update rejected: {}: {}", path_,
               sources.locate(std::move(s).error()).message);
    stats_.update_rejected.add();
    subscriber_.on_failure(FetchFailure::rejected);
    return;
  }
  stats_.accepted(loop_.wall_now(), response.version_info());
  SLUICE_LOG(config, debug, "{}: {} resources of version {}", path_, response.resources_size(),
             response.version_info());
}

Status FileSubscription::apply(const google::protobuf::Message& message) {
  const auto& response = static_cast<const discovery::DiscoveryResponse&>(message);
  Update update{.version = response.version_info()};
  std::deque<discovery::Resource> wrappers;  // the update looks into them
  for (int i = 0; i < response.resources_size(); ++i) {
    const google::protobuf::Any* any = &response.resources(i);
    const std::string at = "resources[" + std::to_string(i) + "]: ";
    std::string_view own_name, version = response.version_info();
    if (any->type_url() == kWrapped) {
      discovery::Resource& wrapper = wrappers.emplace_back();
      if (!any->UnpackTo(&wrapper)) return Error{at + "its bytes are no message"};
      if (wrapper.has_ttl())
        return Error{at + "ttl: nobody sends a file again before it runs out; leave it out"};
      any = &wrapper.resource();
      own_name = wrapper.name();
      version = wrapper.version();
    }
    if (any->type_url() != type_url(type_))
      return Error{at + "is a " + any->type_url() + ", this file is for " + std::string(type_url(type_))};
    const auto name = own_name.empty() ? name_of(any->value()) : own_name;
    if (!name) return Error{at + "its bytes are no message"};
    if (!names_.empty() && !names_.contains(std::string(*name))) continue;
    Resource resource{.type = type_,
                      .name = *name,
                      .version = version,
                      .bytes = any->value(),
                      .hash = wyhash(any->value())};
    if (!reads_bytes(type_)) {
      auto unpacked = resource.unpack();
      if (!unpacked) return std::move(unpacked).error().prefixed("resources[" + std::to_string(i) + "]");
      resource.message = std::move(unpacked).value();
    }
    update.resources.push_back(std::move(resource));
  }
  if (type_ == ResourceType::secret && update.resources.empty()) {
    // As Envoy: whoever waits for a secret need not wait for a file that has others.
    const std::string& wanted = *names_.begin();
    const auto other = response.resources().empty() ? std::nullopt : name_of(response.resources(0).value());
    return other ? Error{"Unexpected SDS secret (expecting " + wanted + "): " + std::string(*other)}
                 : Error{"Missing SDS resources for " + wanted + " in onConfigUpdate()"};
  }
  if (!names_.empty() && update.resources.empty()) {
    SLUICE_LOG(config, debug, "{}: has nothing of what is asked for", path_);
    return {};
  }
  return subscriber_.on_update(update);
}

}  // namespace sluice::xds
