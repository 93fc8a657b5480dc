#include "extensions/filters/listener/tls_inspector/tls_inspector.h"

#include <algorithm>
#include <utility>

#include "core/ascii.h"
#include "core/log.h"
#include "extensions/filters/listener/tls_inspector/client_hello.h"
#include "extensions/filters/listener/tls_inspector/fingerprint.h"

namespace sluice::extensions::tls_inspector {
namespace {

using Status = ext::ListenerFilterStatus;

struct Stats {
  explicit Stats(const stats::Scope& s)
      : too_large(s.counter("client_hello_too_large")),
        tls_found(s.counter("tls_found")),
        tls_not_found(s.counter("tls_not_found")),
        alpn_found(s.counter("alpn_found")),
        alpn_not_found(s.counter("alpn_not_found")),
        sni_found(s.counter("sni_found")),
        sni_not_found(s.counter("sni_not_found")),
        bytes_processed(s.histogram("bytes_processed", stats::Unit::bytes)) {}
  stats::Counter too_large, tls_found, tls_not_found, alpn_found, alpn_not_found, sni_found, sni_not_found;
  stats::Histogram bytes_processed;
};

class TlsInspector final : public ext::ListenerFilter {
 public:
  TlsInspector(const Settings& settings, Stats& stats)
      : settings_(settings), stats_(stats), window_(settings.initial_read_buffer_size) {}

  Status on_accept(ext::ListenerFilterContext&) override { return Status::need_data; }

  // Looks at no more than it has asked for, and asks for twice as much when that was not enough: by Envoy's rules what a
  // broken hello counts as depends on how much of it was looked at.
  Status on_data(ext::ListenerFilterContext& context, std::string_view bytes, bool) override {
    ext::StreamInfo& info = context.stream_info();
    while (std::min<size_t>(bytes.size(), window_) > seen_) {
      seen_ = std::min<size_t>(bytes.size(), window_);
      switch (reader_.read(bytes.substr(0, seen_))) {
        case HelloReader::Result::need_more:
          if (seen_ >= settings_.max_client_hello_size) return too_large(info);
          if (seen_ >= window_)
            window_ = std::min(2 * static_cast<uint32_t>(seen_), settings_.max_client_hello_size);
          break;
        case HelloReader::Result::hello:
          return found(info);
        case HelloReader::Result::refused:
          return not_found(info);
        case HelloReader::Result::closed:
          stats_.bytes_processed.record(reader_.consumed());
          return Status::reject;
      }
    }
    return Status::need_data;
  }

  size_t max_bytes() const override { return settings_.max_client_hello_size; }

 private:
  Status found(ext::StreamInfo& info) {
    const ClientHello& hello = reader_.hello();
    stats_.bytes_processed.record(reader_.consumed());
    if (settings_.ja3) info.ja3_hash = ja3(hello);
    if (settings_.ja4) info.ja4 = ja4(hello);
    auto protocols = hello.application_protocols();
    const bool alpn = !protocols.empty();
    if (alpn) info.application_protocols = std::move(protocols);
    const bool named = !hello.server_name.empty();
    (named ? stats_.sni_found : stats_.sni_not_found).add();
    if (named) info.requested_server_name = to_lower(hello.server_name);
    // TLS 1.0 to 1.3 (which says 1.2 here); what came before is nobody's to serve, and is not passed on as plain text.
    if (hello.version < 0x0301 || hello.version > 0x0304) {
      stats_.tls_not_found.add();
      return fail(info, "ClientHelloInvalidTlsVersion", Refusal{0x85, "CONNECTION_REJECTED"}, Status::reject);
    }
    stats_.tls_found.add();
    (alpn ? stats_.alpn_found : stats_.alpn_not_found).add();
    info.transport_protocol = "tls";
    return Status::proceed;
  }

  Status not_found(ext::StreamInfo& info) {
    stats_.bytes_processed.record(reader_.consumed());
    if (settings_.close_on_errors && seen_ >= settings_.max_client_hello_size) {
      stats_.too_large.add();
      return fail(info, "ClientHelloTooLarge", reader_.refusal(), Status::reject);
    }
    stats_.tls_not_found.add();
    return fail(info, "ClientHelloNotDetected", reader_.refusal(),
                settings_.close_on_errors ? Status::reject : Status::proceed);
  }

  Status too_large(ext::StreamInfo& info) {
    stats_.bytes_processed.record(reader_.consumed());
    stats_.too_large.add();
    return fail(info, "ClientHelloTooLarge", {}, Status::reject);
  }

  static Status fail(ext::StreamInfo& info, std::string_view what, const Refusal& refusal, Status status) {
    if (refusal.number != 0) info.downstream_transport_failure_reason = refusal.text();
    SLUICE_LOG(filter, debug, "[C{}] {}: {}", info.connection_id, what, refusal.name);
    if (!info.dynamic_metadata) info.dynamic_metadata = std::make_shared<ext::Metadata>();
    (*info.dynamic_metadata)["envoy.filters.listener.tls_inspector"]["failure_reason"] =
        '"' + std::string(what) + '"';
    return status;
  }

  const Settings& settings_;
  Stats& stats_;
  HelloReader reader_;
  size_t seen_ = 0;
  uint32_t window_;
};

}  // namespace

ext::ListenerFilterFactory make_factory(const Settings& settings) {
  return [settings](stats::Scope scope) -> ext::ListenerFilterMaker {
    auto root = stats::Scope(scope.store(), scope.slot(), "");
    auto stats = std::make_shared<Stats>(root.scope("tls_inspector"));
    return [settings = std::make_shared<const Settings>(settings), stats] {
      return std::make_unique<TlsInspector>(*settings, *stats);
    };
  };
}

}  // namespace sluice::extensions::tls_inspector
