#include "server/identities.h"

#include <algorithm>

#include "config/translate_secret.h"
#include "core/log.h"
#include "tls/check.h"

namespace sluice::server {
namespace {

using Kind = redirect::SecretSource::Kind;

constexpr Duration kCertificateTtl = std::chrono::hours(24);  // of the development CA
// The wall clock may be set: expiry is looked at this often at least.
constexpr Duration kLongestWait = std::chrono::minutes(10);

const char* to_string(Kind kind) {
  switch (kind) {
    case Kind::files:
      return "files";
    case Kind::sds:
      return "sds";
    case Kind::development_ca:
      return "development CA";
    case Kind::configured:
      break;
  }
  return "configured";
}

}  // namespace

struct Identities::Entry {
  Entry(Identities& o, uint64_t w, const redirect::WorkloadSpec& s)
      : owner(o), workload(w), spec(s), timer(o.loop_.timers(), &on_time, this), changed(&on_change, this) {}

  void start() {
    if (spec.secrets.kind == Kind::sds) {
      if (Status s = subscribe(); !s) reason = s.error().message;
    } else {
      watch();
    }
    update();
  }
  // A folder that is not there yet is tried again later.
  void watch() {
    if (!owner.sds_.files) {
      auto made = xds::FileWatch::make(owner.loop_);
      if (!made.ok()) return SLUICE_LOG(workload, warn, "{}: {}", spec.name, made.error().message);
      owner.sds_.files = *made;
    }
    auto registered = owner.sds_.files->watch(spec.secrets.path, [this](std::string_view) { look_later(); });
    if (registered.ok()) registration = std::move(*registered);
  }
  Status subscribe() {
    SLUICE_ASSIGN(auto source, owner.clusters_.open(spec.secrets.path));
    opened = true;
    source.initial_fetch_timeout = Duration(0);
    auto tell = [this](const config::Secret*) { look_later(); };
    certificate = std::make_unique<xds::SecretWatch>(owner.sds_, "default", source,
                                                     config::kSecretField<tls::Certificate>, tell);
    trust = std::make_unique<xds::SecretWatch>(owner.sds_, "ROOTCA", source,
                                               config::kSecretField<tls::Validation>, tell);
    SLUICE_TRY(certificate->start());
    return trust->start();
  }
  ~Entry() {
    certificate.reset();
    trust.reset();
    if (opened) owner.clusters_.close(spec.secrets.path);
  }

  Result<Material> load() {
    if (spec.secrets.kind != Kind::sds) return owner.load(spec);
    if (!certificate || !certificate->secret().certificate)
      return Error{why(certificate.get(), "no certificate has come from " + spec.secrets.path)};
    if (!trust || !trust->secret().validation)
      return Error{why(trust.get(), "no CA has come from " + spec.secrets.path)};
    return owner.accept(spec.identity, certificate->secret(), trust->secret());
  }
  static std::string why(const xds::SecretWatch* watch, std::string otherwise) {
    return watch && !watch->view().refused.empty() ? watch->view().refused : otherwise;
  }

  // Of a thousand workloads all may have to look at once (their CA's folder has changed): the control thread does other
  // things in between.
  void look_later() { owner.loop_.schedule_slow(changed); }

  // The development CA is asked again when it is another one, or when a third of the time is left.
  bool issued_well() const {
    if (!usable || !in_use.issuer || in_use.expires - owner.loop_.wall_now() < kCertificateTtl / 3)
      return false;
    const auto now = owner.authorities_.load(spec.secrets.path);
    return now.ok() && *now == in_use.issuer;
  }

  // What is there now is taken, or (while the one in use is good) only talked about.
  void update() {
    const WallTime now = owner.loop_.wall_now();
    const bool was_usable = usable;
    if (issued_well()) {
      reason.clear();
      return wait(now);
    }
    auto fresh = load();
    if (fresh.ok()) {
      const bool other = !usable || !same(*fresh);
      if (other && usable) owner.rotated_.add();
      in_use = std::move(*fresh);
      usable = true;
      reason.clear();
      if (other) {
        publish();
        SLUICE_LOG(workload, info, "{} is {}", spec.name, spec.identity);
      }
    } else {
      if (reason != fresh.error().message) {
        owner.refused_.add();
        SLUICE_LOG(workload, warn, "{}: {} cannot be used: {}", spec.name, spec.identity,
                   fresh.error().message);
      }
      reason = fresh.error().message;
      if (usable && in_use.expires <= now) {
        owner.expired_.add();
        usable = false;
        in_use = {};
        SLUICE_LOG(workload, err, "{}: the certificate of {} has expired: its connections fail", spec.name,
                   spec.identity);
        publish();
      } else if (!usable && !published) {
        publish();
      }
    }
    if (was_usable != usable) owner.count();
    wait(now);
  }
  void wait(WallTime now) {
    Duration wait = kLongestWait;
    if (usable) wait = std::min(wait, in_use.expires - now);
    timer.arm(owner.loop_.now() + std::max<Duration>(wait, std::chrono::milliseconds(1)));
  }

  bool same(const Material& other) const {
    return in_use.certificate && other.certificate->chain == in_use.certificate->chain &&
           other.certificate->private_key == in_use.certificate->private_key &&
           other.trust->trusted_ca == in_use.trust->trusted_ca;
  }
  void publish() {
    published = true;
    owner.secrets_->put(
        workload, {spec.identity, usable ? in_use.certificate : nullptr, usable ? in_use.trust : nullptr});
  }

  static void on_time(io::Timer& t) { t.owner<Entry>()->look_later(); }
  static void on_change(io::TurnEnd& hook) { hook.owner<Entry>()->update(); }

  Identities& owner;
  const uint64_t workload;
  const redirect::WorkloadSpec spec;
  io::Timer timer;
  io::TurnEnd changed;
  Material in_use;
  bool usable = false, published = false, opened = false;
  std::string reason;
  std::unique_ptr<xds::FileWatch::Registration> registration;
  std::unique_ptr<xds::SecretWatch> certificate, trust;  // sds
};

Identities::Identities(io::Loop& loop, const stats::Scope& root, const xds::SecretSurroundings& around,
                       std::shared_ptr<xds::WorkloadSecrets> secrets, SdsClusters& clusters)
    : loop_(loop),
      sds_{.loop = loop,
           .root = root.scope("workloads"),
           .factory = around.factory,
           .resources = around.resources},
      secrets_(std::move(secrets)),
      clusters_(clusters) {
  const stats::Scope s = root.scope("workloads").scope("identities");
  usable_ = s.gauge("usable");
  unusable_ = s.gauge("unusable");
  rotated_ = s.counter("rotated");
  refused_ = s.counter("refused");
  expired_ = s.counter("expired");
}

Identities::~Identities() {
  for (const auto& [workload, entry] : all_) secrets_->forget(workload);
}

Result<Identities::Material> Identities::accept(const std::string& identity,
                                                const config::Secret& certificate,
                                                const config::Secret& trust) const {
  SLUICE_ASSIGN(const auto all, tls::summarize(*certificate.certificate));
  const tls::CertificateSummary& leaf = all.front();
  if (leaf.uri_sans != std::vector<std::string>{identity}) {
    std::string names;
    for (const std::string& name : leaf.uri_sans) names += (names.empty() ? "" : ", ") + name;
    return Error{"its certificate is for " + (names.empty() ? std::string("no SPIFFE ID") : names) +
                     ", and it is enrolled as " + identity,
                 EINVAL};
  }
  const WallTime now = loop_.wall_now();
  auto seconds = [](WallTime t) {
    return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
  };
  if (leaf.not_after <= now)
    return Error{
        "its certificate has expired, " + std::to_string(seconds(now) - seconds(leaf.not_after)) + " s ago",
        EINVAL};
  if (leaf.not_before > now)
    return Error{"its certificate is not valid yet, for another " +
                     std::to_string(seconds(leaf.not_before) - seconds(now)) + " s: are the clocks right?",
                 EINVAL};
  return Material{certificate.certificate, trust.validation, leaf.not_after};
}

Result<Identities::Material> Identities::load(const redirect::WorkloadSpec& spec) const {
  const std::string& dir = spec.secrets.path;
  tls::Certificate certificate;
  if (spec.secrets.kind == Kind::development_ca) {
    SLUICE_ASSIGN(auto authority, authorities_.load(dir));
    SLUICE_ASSIGN(
        certificate,
        authority->ca.issue({.identity = spec.identity, .ttl = kCertificateTtl, .now = loop_.wall_now()}));
    config::Secret trusted;
    trusted.validation = authority->trust;
    SLUICE_ASSIGN(Material made, accept(spec.identity, config::make_secret(std::move(certificate)), trusted));
    made.issuer = std::move(authority);
    return made;
  }
  SLUICE_ASSIGN(certificate.chain, read_secret_file(dir + "/cert-chain.pem"));
  SLUICE_ASSIGN(certificate.private_key, read_secret_file(dir + "/key.pem"));
  tls::Validation trust;
  SLUICE_ASSIGN(trust.trusted_ca, read_secret_file(dir + "/root-cert.pem"));
  trust.ca_name = dir + "/root-cert.pem";
  SLUICE_TRY(tls::check(certificate, dir + "/cert-chain.pem", dir + "/key.pem"));
  SLUICE_TRY(tls::check(trust));
  return accept(spec.identity, config::make_secret(std::move(certificate)),
                config::make_secret(std::move(trust)));
}

Status Identities::check(const redirect::WorkloadSpec& spec) const {
  if (spec.secrets.kind != Kind::files && spec.secrets.kind != Kind::development_ca) return {};
  auto material = load(spec);
  if (material.ok()) return {};
  Error e = std::move(material).error().prefixed("workload " + spec.name + ": " + spec.identity);
  e.code = EINVAL;
  return e;
}

void Identities::put(uint64_t workload, const redirect::WorkloadSpec& spec) {
  if (spec.secrets.kind == Kind::configured) {
    if (all_.erase(workload) > 0) count();
    return secrets_->use_configured(workload);
  }
  auto& entry = all_[workload];
  if (entry && entry->spec.identity == spec.identity && entry->spec.secrets == spec.secrets)
    return entry->usable ? void() : entry->update();
  // Between the two it is nobody, not the one before.
  secrets_->put(workload, {spec.identity, nullptr, nullptr});
  entry.reset();
  entry = std::make_unique<Entry>(*this, workload, spec);
  entry->start();
  count();
}

void Identities::forget(uint64_t workload) {
  const auto at = all_.find(workload);
  if (at == all_.end()) return;
  all_.erase(at);
  secrets_->forget(workload);
  count();
}

void Identities::retain(const std::function<bool(uint64_t workload)>& enrolled) {
  std::vector<uint64_t> gone;
  for (const auto& [workload, entry] : all_)
    if (!enrolled(workload)) gone.push_back(workload);
  for (uint64_t workload : gone) forget(workload);
}

void Identities::retry() {
  for (auto& [workload, entry] : all_) {
    if (entry->spec.secrets.kind == Kind::sds || entry->registration) continue;
    entry->watch();
    if (entry->registration) entry->update();
  }
}

std::optional<Identities::View> Identities::view(uint64_t workload) const {
  const auto at = all_.find(workload);
  if (at == all_.end()) return std::nullopt;
  const Entry& e = *at->second;
  View out{
      e.spec.identity, std::string(to_string(e.spec.secrets.kind)) + " " + e.spec.secrets.path, {}, e.reason};
  if (e.usable) out.expires = e.in_use.expires;
  return out;
}

void Identities::for_each_in_use(
    const std::function<void(const std::string&, const config::Secret&)>& f) const {
  for (const auto& [workload, entry] : all_) {
    if (!entry->usable) continue;
    config::Secret secret;
    secret.certificate = entry->in_use.certificate;
    secret.validation = entry->in_use.trust;
    f(entry->spec.secrets.kind == Kind::files ? entry->spec.secrets.path + "/cert-chain.pem" : "<inline>",
      secret);
  }
}

void Identities::count() {
  uint64_t good = 0;
  bool issued = false;
  for (const auto& [workload, entry] : all_) {
    if (!entry) continue;
    good += entry->usable ? 1 : 0;
    issued |= entry->spec.secrets.kind == Kind::development_ca;
  }
  if (!issued) authorities_.forget_all();  // a CA's key is in memory for as long as somebody has it issue
  usable_.set(good);
  unusable_.set(all_.size() - good);
}

}  // namespace sluice::server
