#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "core/address.h"
#include "core/regex.h"
#include "extensions/common/metadata_matcher.h"
#include "model/matchers.h"
#include "sluice/ext/stream_info.h"

// envoy.config.rbac.v3's permissions and principals without protobuf: as they are written (Rule), and as they are asked
// (Matcher).
namespace sluice::extensions::rbac {

struct Rule;
struct AllOf {
  std::vector<Rule> rules;
};
struct AnyOf {
  std::vector<Rule> rules;
};
struct Not {
  std::unique_ptr<Rule> rule;
};
struct Always {};
struct HeaderIs {
  model::HeaderMatcher matcher;
};
struct PathIs {  // of the request, without its query; never where there is no request
  StringMatcher matcher;
};
struct PathFits {  // uri_template; `path` too
  Regex regex;
};
enum class AddressOf : uint8_t {
  destination,  // destination_ip
  connection,  // source_ip: the connection's peer, whatever x-forwarded-for says
  direct_remote,  // direct_remote_ip: the socket's peer
  remote,  // remote_ip: with what x-forwarded-for or the PROXY protocol say
};
struct AddressIn {
  AddressOf which;
  Cidr range;
};
struct PortIn {  // of the destination
  uint32_t begin, end;  // [begin, end)
};
struct ServerNameIs {
  StringMatcher matcher;
};
// The peer of a TLS connection: one of its certificate's URI SANs, DNS SANs, or the subject. Without `name`: any TLS
// connection at all, with or without a certificate (Envoy's rule).
struct PeerIs {
  std::optional<StringMatcher> name;
};
struct MetadataIs {  // dynamic metadata
  MetadataMatcher matcher;
};
struct Rule {
  std::variant<Always, AllOf, AnyOf, Not, HeaderIs, PathIs, PathFits, AddressIn, PortIn, ServerNameIs, PeerIs,
               MetadataIs>
      what;
};

// Who asks for what.
struct Subject {
  const ext::StreamInfo& info;
  const http::HeaderMap* headers;  // null: no HTTP
  const Address& connection_remote;  // AddressOf::connection
};

// Immutable, used by all workers.
class Matcher {
 public:
  virtual ~Matcher() = default;
  virtual bool matches(const Subject& subject) const = 0;
};
using MatcherPtr = std::unique_ptr<const Matcher>;

// Makes a matcher of a rule. Alternatives are put together where that spares asking one by one: exact names become hash
// tables, address ranges and ports sorted intervals, however deep in nested "or"s they stand.
MatcherPtr compile(Rule rule);

}  // namespace sluice::extensions::rbac
