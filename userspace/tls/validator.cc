#include "tls/validator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>

#include "tls/check.h"
#include "tls/errors.h"
#include "tls/names.h"

namespace sluice::tls {
namespace {

struct Bundle {
  std::vector<X509Ptr> certificates;
  std::vector<Owned<X509_CRL, X509_CRL_free>> crls;
};

struct FreeInfos {
  void operator()(STACK_OF(X509_INFO) * s) const { sk_X509_INFO_pop_free(s, X509_INFO_free); }
};

// False: not PEM. Other objects in it (keys) are passed over.
bool read_bundle(std::string_view pem, Bundle& out) {
  clear_errors();
  BioPtr bio = reader(pem);
  std::unique_ptr<STACK_OF(X509_INFO), FreeInfos> infos(
      bio ? PEM_X509_INFO_read_bio_ex(
                bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr, library(), nullptr)
          : nullptr);
  clear_errors();
  if (!infos) return false;
  for (int i = 0; i < sk_X509_INFO_num(infos.get()); ++i) {
    X509_INFO* info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509) out.certificates.push_back(X509Ptr(std::exchange(info->x509, nullptr)));
    if (info->crl) out.crls.emplace_back(std::exchange(info->crl, nullptr));
  }
  return true;
}

void add(X509_STORE* store, const Bundle& bundle) {
  for (const auto& x : bundle.certificates) X509_STORE_add_cert(store, x.get());
  for (const auto& x : bundle.crls) X509_STORE_add_crl(store, x.get());
}

void check_revocation(X509_STORE* store, bool leaf_only) {
  X509_STORE_set_flags(store,
                       leaf_only ? X509_V_FLAG_CRL_CHECK : X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

// BoringSSL's words, which Envoy shows, where OpenSSL has others.
const char* error_text(int error) {
  switch (error) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "self signed certificate";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "self signed certificate in certificate chain";
    case X509_V_ERR_INVALID_PURPOSE:
      return "unsupported certificate purpose";
    case X509_V_ERR_CERT_REVOKED:
      return "certificate revocation check against provided CRLs failed: certificate revoked";
    default:
      return X509_verify_cert_error_string(error);
  }
}

// X509_V_ERR_… that SSL says to the peer as certificate_unknown, which is what Envoy says of a wrong name.
constexpr int kUnknown = X509_V_ERR_SUBJECT_ISSUER_MISMATCH;

constexpr std::string_view kSpiffe = "spiffe://";

std::string trust_domain_of(std::string_view id) {
  if (!id.starts_with(kSpiffe)) return {};
  const size_t slash = id.find('/', kSpiffe.size());
  return slash == id.npos ? std::string() : std::string(id.substr(kSpiffe.size(), slash - kSpiffe.size()));
}

}  // namespace

Result<std::shared_ptr<const Validator>> Validator::make(const Validation& v) {
  auto out = std::make_shared<Validator>();
  out->config_ = v;
  out->config_.trusted_ca.clear();
  out->config_.crl.clear();
  for (const auto* hashes : {&v.certificate_hashes, &v.spki_hashes})
    for (const std::string& h : *hashes)
      if (h.size() != 32) return Error{"Invalid SHA-256: it has to have 32 bytes"};
  for (const SanMatcher& m : v.sans) {
    Oid& oid = out->oids_.emplace_back();
    if (m.type != SanMatcher::Type::other_name) continue;
    oid.object.reset(OBJ_txt2obj(m.oid.c_str(), 0));
    if (!oid.object)
      return Error{fmt::format("Failed to create SAN matcher for OTHER_NAME with OID: {}", m.oid)};
  }
  for (const auto& d : v.trust_domains) {
    for (const Domain& other : out->domains_)
      if (other.name == d.name)
        return Error{fmt::format("Multiple trust bundles are given for one trust domain for {}", d.name)};
    Bundle bundle;
    if (!read_bundle(d.bundle, bundle) || (bundle.certificates.empty() && bundle.crls.empty()))
      return Error{fmt::format("Failed to load trusted CA certificate for {}", d.name)};
    StorePtr store(X509_STORE_new());
    add(store.get(), bundle);
    if (!bundle.crls.empty()) {
      out->has_crl_ = true;
      check_revocation(store.get(), false);
    }
    for (auto& x : bundle.certificates) out->cas_.push_back(std::move(x));
    out->domains_.push_back({d.name, std::move(store)});
  }
  for (auto& d : out->config_.trust_domains) d.bundle.clear();
  if (out->domains_.empty() && !v.trusted_ca.empty()) {
    Bundle bundle;
    if (!read_bundle(v.trusted_ca, bundle) || bundle.certificates.empty())
      return Error{fmt::format("Failed to load trusted CA certificates from {}", v.ca_name)};
    out->store_.reset(X509_STORE_new());
    X509_STORE_set_flags(out->store_.get(), X509_V_FLAG_PARTIAL_CHAIN);
    add(out->store_.get(), bundle);
    if (!bundle.crls.empty()) {
      out->has_crl_ = true;
      check_revocation(out->store_.get(), v.only_verify_leaf_crl);
    }
    out->cas_ = std::move(bundle.certificates);
  }
  if (!v.crl.empty()) {
    Bundle bundle;
    // Envoy takes text without a list in it for no list at all, and lets in who was to be kept out.
    if (!read_bundle(v.crl, bundle) || bundle.crls.empty()) return Error{"Failed to load CRL from <inline>"};
    if (out->store_) {
      out->has_crl_ = true;
      for (const auto& x : bundle.crls) X509_STORE_add_crl(out->store_.get(), x.get());
      check_revocation(out->store_.get(), v.only_verify_leaf_crl);
    }
  }
  clear_errors();
  return std::shared_ptr<const Validator>(std::move(out));
}

int Validator::verify_mode() const {
  constexpr int kAlways = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  if (spiffe()) return kAlways;
  const bool pinned =
      !config_.sans.empty() || !config_.certificate_hashes.empty() || !config_.spki_hashes.empty();
  if (pinned) return config_.accept_untrusted ? SSL_VERIFY_PEER : kAlways;
  return store_ || config_.accept_untrusted ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
}

STACK_OF(X509_NAME) * Validator::ca_names() const {
  STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
  for (const auto& ca : cas_) {
    const X509_NAME* subject = X509_get_subject_name(ca.get());
    bool known = false;
    for (int i = 0; i < sk_X509_NAME_num(names) && !known; ++i)
      known = X509_NAME_cmp(sk_X509_NAME_value(names, i), subject) == 0;
    if (!known) sk_X509_NAME_push(names, X509_NAME_dup(subject));
  }
  return names;
}

X509* Validator::issuer_of(X509* certificate) const {
  for (const X509Ptr& ca : cas_)
    if (X509_check_issued(ca.get(), certificate) == X509_V_OK) return ca.get();
  return nullptr;
}

Validator::Verdict Validator::verify(const Request& r) const {
  Verdict v;
  auto refuse = [&](std::string detail, int error, stats::Counter Stats::* counter) {
    v.accepted = v.validated = false;
    v.detail = std::move(detail);
    v.error = error;
    v.counter = counter;
    return v;
  };
  if (!r.leaf)
    return refuse("verify cert failed: empty cert chain", X509_V_ERR_UNSPECIFIED, &Stats::fail_verify_error);
  if (spiffe()) {
    if (X509_get_extension_flags(r.leaf) & EXFLAG_CA ||
        (X509_get_extension_flags(r.leaf) & EXFLAG_KUSAGE &&
         X509_get_key_usage(r.leaf) & (KU_CRL_SIGN | KU_KEY_CERT_SIGN)))
      return refuse("verify cert failed: cert precheck", kUnknown, &Stats::fail_verify_error);
    X509_STORE* store = store_for(r.leaf);
    if (!store)
      return refuse("verify cert failed: no trust bundle store", kUnknown, &Stats::fail_verify_error);
    if (!verify_chain(r, store, v)) return v;
    v.accepted = v.validated = true;
    if (!config_.sans.empty() && !any_name_matches(r.leaf))
      return refuse("verify cert failed: SAN match", kUnknown, &Stats::fail_verify_san);
    return v;
  }
  if (store_) {
    if (!verify_chain(r, store_.get(), v)) {
      if (!config_.accept_untrusted) return v;
      v.accepted = true;  // counted, and let in as not validated
      return v;
    }
    v.validated = true;
  }
  const bool configured = (r.names && !r.names->empty()) || !r.sni.empty() || !config_.sans.empty() ||
                          !config_.certificate_hashes.empty() || !config_.spki_hashes.empty();
  if (!verify_leaf(r, v)) {
    v.validated = false;
    v.accepted = config_.accept_untrusted;
    return v;
  }
  v.validated |= configured;
  // Where nothing says whom to trust, anybody is let in, and nobody counts as validated.
  v.accepted = v.validated || config_.accept_untrusted || !(store_ || configured);
  return v;
}

// Not with CRLs, which expire by themselves, nor where time does not count.
bool Validator::remembers() const {
  return !has_crl_ && !config_.allow_expired;
}

// "": too long to be worth it.
std::string Validator::memo_key(const Request& r) const {
  constexpr int kLongest = 8;
  const int n = r.chain ? sk_X509_num(r.chain) : 0;
  if (!remembers() || n > kLongest) return {};
  std::string key(r.of_client ? "c" : "s");
  uint8_t sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  for (int i = -1; i < n; ++i) {
    if (!X509_digest(i < 0 ? r.leaf : sk_X509_value(r.chain, i), EVP_sha256(), sum, &size)) return {};
    key.append(reinterpret_cast<char*>(sum), size);
  }
  return key;
}

void Validator::remember(std::string key, X509_STORE_CTX* verified) const {
  constexpr size_t kMost = 1024;
  Span span{WallTime::min(), WallTime::max()};
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(verified);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    span.from = std::max(span.from, to_wall(X509_get0_notBefore(sk_X509_value(chain, i))));
    span.until = std::min(span.until, to_wall(X509_get0_notAfter(sk_X509_value(chain, i))));
  }
  if (known_.size() >= kMost) known_.clear();
  known_.emplace(std::move(key), span);
}

bool Validator::verify_chain(const Request& r, X509_STORE* store, Verdict& v) const {
  std::string key = memo_key(r);
  if (auto it = known_.find(key); !key.empty() && it != known_.end()) {
    if (r.now >= it->second.from && r.now <= it->second.until) return true;
    known_.erase(it);
  }
  StoreCtxPtr ctx(X509_STORE_CTX_new_ex(library(), nullptr));
  bool ready = ctx && X509_STORE_CTX_init(ctx.get(), store, r.leaf, r.chain) == 1;
  // SPIFFE says nothing of extended key usage, and Envoy does not look at it there.
  if (ready && !spiffe())
    ready = X509_STORE_CTX_set_default(ctx.get(), r.of_client ? "ssl_client" : "ssl_server") == 1;
  if (!ready) {
    v.detail = "verify cert failed: init and setup X509_STORE_CTX";
    v.error = X509_V_ERR_UNSPECIFIED;
    v.counter = &Stats::fail_verify_error;
    return false;
  }
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  if (config_.allow_expired)
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);  // without effect where a time is set
  else
    X509_VERIFY_PARAM_set_time(param, to_seconds(r.now));
  // The setting counts the trust anchor and OpenSSL does not.
  const uint32_t depth = std::min<uint32_t>(config_.max_verify_depth, INT_MAX);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(depth > 0 ? depth - 1 : 0));
  X509_VERIFY_PARAM_set_auth_level(param, 1);  // no MD5 and SHA-1 signatures, no keys that are toys
  if (X509_verify_cert(ctx.get()) == 1) {
    if (!key.empty()) remember(std::move(key), ctx.get());
    return true;
  }
  v.error = X509_STORE_CTX_get_error(ctx.get());
  v.detail =
      fmt::format("verify cert failed: X509_verify_cert: certificate verification error at depth {}: {}",
                  X509_STORE_CTX_get_error_depth(ctx.get()), error_text(v.error));
  v.counter = &Stats::fail_verify_error;
  return false;
}

bool Validator::verify_leaf(const Request& r, Verdict& v) const {
  auto refuse = [&](std::string detail, stats::Counter Stats::* counter) {
    v.detail = std::move(detail);
    v.error = kUnknown;
    v.counter = counter;
    return false;
  };
  const auto sans_refused = [&] {
    return refuse(
        fmt::format("verify cert failed: SAN matcher, certificate SANs are [{}]", names_for_log(r.leaf)),
        &Stats::fail_verify_san);
  };
  NamesPtr names = alternative_names(r.leaf);
  auto any_name = [&](auto&& fits) {
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i)
      if (fits(sk_GENERAL_NAME_value(names.get(), i))) return true;
    return false;
  };
  if (r.names && !r.names->empty()) {
    const bool found = any_name([&](const GENERAL_NAME* n) {
      const std::string text = to_text(n);
      return std::any_of(r.names->begin(), r.names->end(), [&](const std::string& wanted) {
        return n->type == GEN_DNS ? dns_matches(wanted, text) : wanted == text;
      });
    });
    if (!found) {
      return refuse(
          fmt::format("verify cert failed: verify SAN list, expected SANs: [{}], certificate SANs: [{}]",
                      fmt::join(*r.names, ", "), names_for_log(r.leaf)),
          &Stats::fail_verify_san);
    }
  }
  // Without names of the request's own the SNI takes the matchers' place.
  if ((!r.names || r.names->empty()) && !r.sni.empty()) {
    if (!any_name(
            [&](const GENERAL_NAME* n) { return n->type == GEN_DNS && dns_matches(r.sni, to_text(n)); }))
      return sans_refused();
  } else if (!config_.sans.empty() && !any_name_matches(r.leaf)) {
    return sans_refused();
  }
  if (config_.certificate_hashes.empty() && config_.spki_hashes.empty()) return true;
  auto among = [](const std::vector<std::string>& hashes, std::string_view der) {
    return !hashes.empty() &&
           std::find(hashes.begin(), hashes.end(), digest(EVP_sha256(), der)) != hashes.end();
  };
  uint8_t* spki = nullptr;
  const int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(r.leaf), &spki);
  const bool pinned =
      among(config_.certificate_hashes, der_of(r.leaf)) ||
      (n > 0 && among(config_.spki_hashes, {reinterpret_cast<char*>(spki), static_cast<size_t>(n)}));
  OPENSSL_free(spki);
  if (!pinned) return refuse("verify cert failed: cert hash and spki", &Stats::fail_verify_cert_hash);
  return true;
}

bool Validator::any_name_matches(X509* leaf) const {
  NamesPtr names = alternative_names(leaf);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    for (size_t m = 0; m < config_.sans.size(); ++m) {
      // SPIFFE restricts URIs alone.
      if (spiffe() && n->type != GEN_URI) continue;
      if (matches(config_.sans[m], oids_[m].object.get(), n)) return true;
    }
  }
  return false;
}

X509_STORE* Validator::store_for(X509* leaf) const {
  const std::vector<std::string> uris = names_of(leaf, GEN_URI);
  if (uris.size() != 1) return nullptr;  // X509-SVID section 2: exactly one
  const std::string domain = trust_domain_of(uris[0]);
  for (const Domain& d : domains_)
    if (d.name == domain && !domain.empty()) return d.store.get();
  return nullptr;
}

Status check(const Validation& validation) {
  auto validator = Validator::make(validation);
  if (!validator.ok()) return std::move(validator).error();
  return {};
}

}  // namespace sluice::tls
