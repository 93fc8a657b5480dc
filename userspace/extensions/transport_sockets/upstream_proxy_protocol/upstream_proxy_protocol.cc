#include "extensions/transport_sockets/upstream_proxy_protocol/upstream_proxy_protocol.h"

#include <memory>
#include <utility>

#include "sluice/ext/stream_info.h"

namespace sluice::extensions::upstream_proxy_protocol {
namespace {

constexpr size_t kBodyMax = 65535;
constexpr size_t kHeaderV2 = 16;
constexpr char kLocal = '\x20', kProxy = '\x21';  // version 2 and the command
constexpr char kInet = '\x11', kInet6 = '\x21';  // and a stream

void append_number(std::string& out, size_t v) {
  out += static_cast<char>(v >> 8 & 255);
  out += static_cast<char>(v & 255);
}

void append_ip(std::string& out, const IpAddress& ip) {
  out.append(reinterpret_cast<const char*>(ip.bytes().data()), ip.is_v6() ? 16 : 4);
}

// Those of the downstream connection; what x-forwarded-for says of a request is not meant.
struct Addresses {
  explicit Addresses(const ext::StreamInfo* info) {
    if (info != nullptr && info->http != nullptr) info = info->http->connection;
    if (info == nullptr) return;
    source = info->downstream_remote, destination = info->downstream_local;
    known = source.is_ip() && source.family() == destination.family();
  }
  Address source, destination;
  bool known = false;
};

std::string header_v1(const Addresses& a) {
  if (!a.known) return "PROXY UNKNOWN\r\n";
  return std::string(a.source.ip().is_v6() ? "PROXY TCP6 " : "PROXY TCP4 ") + a.source.ip().to_string() +
         ' ' + a.destination.ip().to_string() + ' ' + std::to_string(a.source.port()) + ' ' +
         std::to_string(a.destination.port()) + "\r\n";
}

std::string header_v2(const Addresses& a, const std::vector<Settings::Tlv>& added) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  if (!a.known) return out.append({kLocal, 0, 0, 0});
  std::string body;
  append_ip(body, a.source.ip()), append_ip(body, a.destination.ip());
  append_number(body, a.source.port()), append_number(body, a.destination.port());
  for (const Settings::Tlv& tlv : added) {
    if (body.size() + 3 + tlv.value.size() > kBodyMax) continue;
    body += static_cast<char>(tlv.type);
    append_number(body, tlv.value.size());
    body += tlv.value;
  }
  out += kProxy;
  out += a.source.ip().is_v6() ? kInet6 : kInet;
  append_number(out, body.size());
  return out + body;
}

// The header, then what the inner one makes of the rest.
class HeaderSocket final : public ext::TransportSocket {
 public:
  HeaderSocket(std::string header, ext::TransportSocketPtr inner, BlockPool& pool)
      : header_(std::move(header)), inner_(std::move(inner)), pool_(pool) {}

  void start(Buffer& out) override {
    out.append(pool_, std::exchange(header_, {}));
    if (inner_) inner_->start(out);
  }
  Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) override {
    if (inner_) return inner_->receive(in, end_stream, plain, out);
    plain.append(std::move(in));
    return end_stream ? Status::ended : Status::ok;
  }
  bool established() const override { return !inner_ || inner_->established(); }
  void send(Buffer& plain, size_t n, Buffer& out) override {
    if (inner_)
      inner_->send(plain, n, out);
    else
      plain.move_front_to(out, n);
  }
  void end(Buffer& out) override {
    if (inner_) inner_->end(out);
  }
  const std::string& failure() const override {
    static const std::string none;
    return inner_ ? inner_->failure() : none;
  }
  ext::TlsInfoPtr tls_info() const override { return inner_ ? inner_->tls_info() : nullptr; }
  std::string_view application_protocol() const override {
    return inner_ ? inner_->application_protocol() : std::string_view();
  }

 private:
  std::string header_;
  ext::TransportSocketPtr inner_;  // null: raw
  BlockPool& pool_;
};

class Transport final : public ext::UpstreamTransport {
 public:
  Transport(std::shared_ptr<const Settings> settings, const ext::TransportScope& scope)
      : settings_(std::move(settings)),
        inner_(settings_->inner ? settings_->inner(scope) : nullptr),
        pool_(scope.loop.blocks()),
        too_long_(scope.stats.scope("upstream").scope("proxyprotocol").counter("v2_tlvs_exceed_max_length")) {
  }

  // The header is the key: a connection says whom it is for, and can be nobody else's.
  std::string sharing_key(const Request& request) const override {
    const std::string own = header(*settings_, request.downstream);
    std::string key;
    append_number(key, own.size());
    key += own;
    if (inner_) key += inner_->sharing_key(request);
    return key;
  }

  ext::TransportSocketPtr make(const Request& request, std::string& failure) override {
    // Who makes a connection for itself need not ask for the key first.
    const std::string key(request.sharing_key.empty() ? sharing_key(request)
                                                      : std::string(request.sharing_key));
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(key[0])) << 8 | static_cast<uint8_t>(key[1]);
    std::string own = key.substr(2, size);
    ext::TransportSocketPtr inner;
    if (inner_) {
      Request rest = request;
      rest.sharing_key = std::string_view(key).substr(2 + size);
      inner = inner_->make(rest, failure);
      if (!inner) return nullptr;
    }
    if (leaves_out(own)) too_long_.add();
    return std::make_unique<HeaderSocket>(std::move(own), std::move(inner), pool_);
  }

  bool secure() const override { return inner_ && inner_->secure(); }
  void forget_workload(uint64_t workload) override {
    if (inner_) inner_->forget_workload(workload);
  }

 private:
  bool leaves_out(std::string_view own) const {
    if (!settings_->v2 || own.size() == kHeaderV2) return false;
    size_t all = own[kHeaderV2 - 3] == kInet6 ? 36 : 12;
    for (const Settings::Tlv& tlv : settings_->added) all += 3 + tlv.value.size();
    return all > kBodyMax;
  }

  const std::shared_ptr<const Settings> settings_;
  const std::unique_ptr<ext::UpstreamTransport> inner_;  // null: raw
  BlockPool& pool_;
  stats::Counter too_long_;
};

}  // namespace

std::string header(const Settings& settings, const ext::StreamInfo* downstream) {
  const Addresses addresses(downstream);
  return settings.v2 ? header_v2(addresses, settings.added) : header_v1(addresses);
}

ext::UpstreamTransportFactory make_factory(Settings settings) {
  return [settings = std::make_shared<const Settings>(std::move(settings))](
             const ext::TransportScope& scope) { return std::make_unique<Transport>(settings, scope); };
}

}  // namespace sluice::extensions::upstream_proxy_protocol
