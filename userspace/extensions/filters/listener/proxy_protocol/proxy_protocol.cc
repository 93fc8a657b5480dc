#include "extensions/filters/listener/proxy_protocol/proxy_protocol.h"

#include <algorithm>
#include <utility>

#include "core/json_string.h"
#include "core/log.h"
#include "extensions/filters/listener/proxy_protocol/header.h"

namespace sluice::extensions::proxy_protocol {
namespace {

using Status = ext::ListenerFilterStatus;

struct VersionStats {
  explicit VersionStats(const stats::Scope& s)
      : found(s.counter("found")), disallowed(s.counter("disallowed")), error(s.counter("error")) {}
  stats::Counter found, disallowed, error;
};

struct Stats {
  Stats(const stats::Scope& root, const stats::Scope& own)
      : proto_error(root.counter("downstream_cx_proxy_proto_error")),
        not_found_allowed(own.counter("not_found_allowed")),
        not_found_disallowed(own.counter("not_found_disallowed")),
        v1(own.scope("versions").scope("v1")),
        v2(own.scope("versions").scope("v2")) {}
  stats::Counter proto_error, not_found_allowed, not_found_disallowed;
  VersionStats v1, v2;
};

// A string of a protobuf is UTF-8: Envoy writes "!" for each byte that is not part of any.
std::string as_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  auto trail = [&](size_t i) { return i < bytes.size() && (static_cast<uint8_t>(bytes[i]) & 0xc0) == 0x80; };
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<uint8_t>(bytes[i]);
    const auto next = i + 1 < bytes.size() ? static_cast<uint8_t>(bytes[i + 1]) : uint8_t{0};
    size_t size = 0;
    if (lead < 0x80) size = 1;
    if (lead >= 0xc2 && lead < 0xe0 && trail(i + 1)) size = 2;
    // Neither overlong forms nor surrogates nor what is above U+10FFFF (RFC 3629 section 4).
    if (lead >= 0xe0 && lead < 0xf0 && trail(i + 1) && trail(i + 2) && !(lead == 0xe0 && next < 0xa0) &&
        !(lead == 0xed && next >= 0xa0))
      size = 3;
    if (lead >= 0xf0 && lead < 0xf5 && trail(i + 1) && trail(i + 2) && trail(i + 3) &&
        !(lead == 0xf0 && next < 0x90) && !(lead == 0xf4 && next >= 0x90))
      size = 4;
    if (size == 0)
      out += '!', ++i;
    else
      out += bytes.substr(i, size), i += size;
  }
  return out;
}

class ProxyProtocol final : public ext::ListenerFilter {
 public:
  ProxyProtocol(const Settings& settings, Stats& stats) : settings_(settings), stats_(stats) {}

  Status on_accept(ext::ListenerFilterContext&) override { return Status::need_data; }

  Status on_data(ext::ListenerFilterContext& context, std::string_view bytes, bool) override {
    ext::StreamInfo& info = context.stream_info();
    if (settings_.allow_without && !(settings_.allow_v1 && could_be(Version::v1, bytes)) &&
        !(settings_.allow_v2 && could_be(Version::v2, bytes))) {
      stats_.not_found_allowed.add();
      return Status::proceed;
    }
    const Header header = parse(bytes);
    if (denied(header)) {
      VersionStats& of_version = of(header.version);
      of_version.found.add();
      of_version.disallowed.add();
      SLUICE_LOG(filter, debug, "[C{}] this version of the PROXY protocol is not allowed",
                 info.connection_id);
      return Status::reject;
    }
    switch (header.state) {
      case Header::State::need_more:
        max_bytes_ = std::max(max_bytes_, header.size);
        return Status::need_data;
      case Header::State::absent:
        stats_.not_found_disallowed.add();
        return error(info, "no PROXY header");
      case Header::State::malformed:
        of(header.version).error.add();
        return error(info, "a malformed PROXY header");
      case Header::State::present:
        break;
    }
    of(header.version).found.add();
    taken_ = header.size;
    if (!header.local) take(header, info);
    return Status::proceed;
  }

  size_t max_bytes() const override { return max_bytes_; }
  size_t taken() const override { return taken_; }

 private:
  VersionStats& of(Version version) { return version == Version::v1 ? stats_.v1 : stats_.v2; }

  // What it says does not matter then: a line of a length that can be, a signature.
  bool denied(const Header& header) const {
    if (header.size == 0) return false;
    return header.version == Version::v1 ? !settings_.allow_v1 : !settings_.allow_v2;
  }

  Status error(const ext::StreamInfo& info, const char* what) {
    stats_.proto_error.add();
    SLUICE_LOG(filter, debug, "[C{}] {} from {}", info.connection_id, what,
               info.downstream_direct_remote.to_string());
    return Status::reject;
  }

  void take(const Header& header, ext::StreamInfo& info) {
    if (header.destination != info.downstream_local) {
      info.downstream_local = header.destination;
      info.local_address_restored = true;
    }
    info.downstream_remote = header.source;
    each_tlv(header.tlvs, [&](uint8_t type, std::string_view value) {
      const auto& rule = settings_.rules[type];
      if (!rule) return;
      if (!info.dynamic_metadata) info.dynamic_metadata = std::make_shared<ext::Metadata>();
      std::string json;
      append_json_string(as_utf8(value), json);
      // Of several of one type the first.
      (*info.dynamic_metadata)[rule->name_space].try_emplace(rule->key, std::move(json));
    });
  }

  const Settings& settings_;
  Stats& stats_;
  size_t max_bytes_ = 2 * kV1Max;
  size_t taken_ = 0;
};

}  // namespace

ext::ListenerFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  return [settings = std::move(settings)](stats::Scope scope) -> ext::ListenerFilterMaker {
    auto root = stats::Scope(scope.store(), scope.slot(), "");
    auto own = root.scope("proxy_proto");
    if (!settings->stat_prefix.empty()) own = own.scope(settings->stat_prefix);
    auto stats = std::make_shared<Stats>(root, own);
    return [settings, stats] { return std::make_unique<ProxyProtocol>(*settings, *stats); };
  };
}

}  // namespace sluice::extensions::proxy_protocol
