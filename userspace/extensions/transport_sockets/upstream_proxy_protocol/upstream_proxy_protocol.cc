#include "extensions/transport_sockets/upstream_proxy_protocol/upstream_proxy_protocol.h"

#include <cstring>
#include <memory>
#include <utility>

#include "sluice/ext/stream_info.h"

namespace sluice::extensions::upstream_proxy_protocol {
namespace {

constexpr size_t kHeaderV2 = 16;
constexpr char kInet6 = '\x21';

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
    const uint32_t size = static_cast<uint32_t>(own.size());  // with TLVs more than 16 bits can say
    std::string key(reinterpret_cast<const char*>(&size), sizeof(size));
    key += own;
    if (inner_) key += inner_->sharing_key(request);
    return key;
  }

  ext::TransportSocketPtr make(const Request& request, std::string& failure) override {
    // Who makes a connection for itself need not ask for the key first.
    const std::string key(request.sharing_key.empty() ? sharing_key(request)
                                                      : std::string(request.sharing_key));
    uint32_t size = 0;
    std::memcpy(&size, key.data(), sizeof(size));
    std::string own = key.substr(sizeof(size), size);
    ext::TransportSocketPtr inner;
    if (inner_) {
      Request rest = request;
      rest.sharing_key = std::string_view(key).substr(sizeof(size) + size);
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
    return all > kProxyHeaderBodyMax;
  }

  const std::shared_ptr<const Settings> settings_;
  const std::unique_ptr<ext::UpstreamTransport> inner_;  // null: raw
  BlockPool& pool_;
  stats::Counter too_long_;
};

}  // namespace

// The addresses are those of the downstream connection; what x-forwarded-for says of a request is not meant.
std::string header(const Settings& settings, const ext::StreamInfo* downstream) {
  if (downstream != nullptr && downstream->http != nullptr) downstream = downstream->http->connection;
  const int version = settings.v2 ? 2 : 1;
  if (downstream == nullptr) return proxy_protocol_header(version, {}, {});
  return proxy_protocol_header(version, downstream->downstream_remote, downstream->downstream_local,
                               settings.added);
}

ext::UpstreamTransportFactory make_factory(Settings settings) {
  return [settings = std::make_shared<const Settings>(std::move(settings))](
             const ext::TransportScope& scope) { return std::make_unique<Transport>(settings, scope); };
}

}  // namespace sluice::extensions::upstream_proxy_protocol
