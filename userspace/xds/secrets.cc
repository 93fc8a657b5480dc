#include "xds/secrets.h"

#include <algorithm>

namespace sluice::xds {

Secrets::Secrets(io::Loop& loop, const stats::Scope& root, Options options)
    : options_(options), around_{.loop = loop, .root = root}, self_(std::make_shared<Secrets*>(this)) {}

Secrets::~Secrets() = default;

Status Secrets::start(SubscriptionFactory& factory, const config::Resources& resources) {
  around_.factory = &factory;
  around_.resources = &resources;
  for (auto& [name, list] : entries_)
    for (Entry& e : list)
      if (Status s = e.watch->start(); !s)
        return std::move(s).error().prefixed("secret '" + name + "' (sds): sds_config");
  return {};
}

void Secrets::stop() {
  around_.on_ready = nullptr;
  entries_.clear();
}

bool Secrets::aggregated(const model::Dependency& need) const {
  for (const auto& [name, list] : entries_)
    for (const Entry& e : list)
      if (e.dependency == &need && !e.shared.expired())
        return e.watch->source().kind == model::ConfigSource::Kind::ads;
  return false;
}

Status Secrets::add_static(const google::protobuf::Message& secret, std::string_view path) {
  return static_.add_static(secret, path);
}

bool Secrets::may_be_own(std::string_view name, const char* field) const {
  if (!options_.workloads) return false;
  if (field == config::kSecretField<tls::Certificate>) return WorkloadSecrets::certificate_name(name);
  return field == config::kSecretField<tls::Validation> && WorkloadSecrets::trust_name(name);
}

template <typename T>
Result<std::shared_ptr<const model::SecretSource<T>>> Secrets::get_static(const std::string& name) {
  auto value = static_.find<T>(name);
  const bool own = may_be_own(name, config::kSecretField<T>);
  if (!value && !own) return config::unknown_static_secret<T>(name);
  auto shared = std::make_shared<SharedSecret<T>>("secret '" + name + "'", name, own ? workloads_ : nullptr);
  shared->set(std::move(value));
  shared->set_ready();
  return std::shared_ptr<const model::SecretSource<T>>(std::move(shared));
}

template <typename T>
Result<std::shared_ptr<const model::SecretSource<T>>> Secrets::get(const std::string& name,
                                                                   const model::ConfigSource* source) {
  if (!source) return get_static<T>(name);
  const char* field = config::kSecretField<T>;
  auto& list = entries_[name];
  for (Entry& e : list) {
    if (e.watch->field() != field || !(e.watch->source() == *source)) continue;
    if (auto shared = e.shared.lock())
      return std::shared_ptr<const model::SecretSource<T>>(shared,
                                                           static_cast<const SharedSecret<T>*>(shared.get()));
  }
  const bool own = may_be_own(name, field);
  auto* made = new SharedSecret<T>("secret '" + name + "' (sds)", name, own ? workloads_ : nullptr);
  if (own) made->set_ready();
  // The watch tells it of changes for as long as it is there. It is the last user that ends the watch: which may be a
  // worker, while the subscription belongs to the control thread.
  std::shared_ptr<SharedSecret<T>> shared(
      made, [loop = &around_.loop, owner = std::weak_ptr(self_), name](SharedSecret<T>* gone) {
        delete gone;
        if (owner.expired()) return;
        loop->post([owner, name] {
          if (auto o = owner.lock()) (*o)->forget(name);
        });
      });
  auto watch = std::make_unique<SecretWatch>(around_, name, *source, field,
                                             [weak = std::weak_ptr(shared)](const config::Secret* value) {
                                               const auto s = weak.lock();
                                               if (!s) return;
                                               value ? s->set(value->get<T>()) : s->set_ready();
                                             });
  if (around_.factory) {
    if (Status s = watch->start(); !s) {
      if (list.empty()) entries_.erase(name);
      return std::move(s).error();
    }
  }
  // Starting may have called back.
  entries_[name].push_back({std::move(watch), std::weak_ptr<const void>(shared), made});
  return std::shared_ptr<const model::SecretSource<T>>(std::move(shared));
}

void Secrets::forget(const std::string& name) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return;
  std::erase_if(at->second, [](const Entry& e) { return e.shared.expired(); });
  if (at->second.empty()) entries_.erase(at);
}

Result<std::shared_ptr<const model::CertificateSource>> Secrets::certificate(
    const std::string& name, const model::ConfigSource* source) {
  return get<tls::Certificate>(name, source);
}

Result<std::shared_ptr<const model::ValidationSource>> Secrets::validation(
    const std::string& name, const model::ConfigSource* source) {
  return get<tls::Validation>(name, source);
}

Result<std::shared_ptr<const model::TicketKeySource>> Secrets::ticket_keys(
    const std::string& name, const model::ConfigSource* source) {
  return get<tls::TicketKeys>(name, source);
}

std::vector<SecretView> Secrets::view() const {
  std::vector<SecretView> out;
  for (const auto& [name, list] : entries_)
    for (const Entry& e : list) out.push_back(e.watch->view());
  std::ranges::stable_sort(out, {}, &SecretView::name);
  return out;
}

}  // namespace sluice::xds
