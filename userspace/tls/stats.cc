#include "tls/stats.h"

namespace sluice::tls {
namespace {

using stats::Kind;

const stats::Layout& layout() {
  static const auto& l = *new stats::Layout({
      {"connection_error", Kind::counter},
      {"handshake", Kind::counter},
      {"session_reused", Kind::counter},
      {"no_certificate", Kind::counter},
      {"fail_verify_no_cert", Kind::counter},
      {"fail_verify_error", Kind::counter},
      {"fail_verify_san", Kind::counter},
      {"fail_verify_cert_hash", Kind::counter},
      {"ocsp_staple_failed", Kind::counter},
      {"ocsp_staple_omitted", Kind::counter},
      {"ocsp_staple_responses", Kind::counter},
      {"ocsp_staple_requests", Kind::counter},
  });
  return l;
}

}  // namespace

Stats::Stats(const stats::Scope& scope) : Stats(scope.scope("ssl"), scope.scope("ssl").block(layout())) {}

Stats::Stats(const stats::Scope& scope, const stats::Block& block)
    : connection_error(block.counter("connection_error")),
      handshake(block.counter("handshake")),
      session_reused(block.counter("session_reused")),
      no_certificate(block.counter("no_certificate")),
      fail_verify_no_cert(block.counter("fail_verify_no_cert")),
      fail_verify_error(block.counter("fail_verify_error")),
      fail_verify_san(block.counter("fail_verify_san")),
      fail_verify_cert_hash(block.counter("fail_verify_cert_hash")),
      ocsp_staple_failed(block.counter("ocsp_staple_failed")),
      ocsp_staple_omitted(block.counter("ocsp_staple_omitted")),
      ocsp_staple_responses(block.counter("ocsp_staple_responses")),
      ocsp_staple_requests(block.counter("ocsp_staple_requests")),
      ciphers(scope.scope("ciphers")),
      curves(scope.scope("curves")),
      sigalgs(scope.scope("sigalgs")),
      versions(scope.scope("versions")),
      kernel(scope.scope("ktls")) {}

void Stats::ByName::count(std::string_view name) {
  for (auto& [known, counter] : counters_)
    if (known == name) return counter.add();
  counters_.emplace_back(std::string(name), scope_.counter(name));
  counters_.back().second.add();
}

}  // namespace sluice::tls
