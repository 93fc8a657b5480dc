#include "test/unit/config/route_cases.h"

#include <doctest/doctest.h>

#include <map>

#include "model/route_actions.h"
#include "test/unit/config/route_verdicts.h"
#include "test/unit/config/routes.h"

namespace sluice::config::test {
namespace {

using http::Name;

// "name: value|name: value" into a map, after what a connection manager has made of it.
void fill(const RouteCase& c, http::HeaderMap& out) {
  out.set(Name::method, c.method);
  out.set(Name::authority, c.host);
  out.set(Name::path, c.path);
  out.set(Name::scheme, "http");
  out.set(Name::x_forwarded_proto, "http");
  std::string_view rest = c.headers;
  while (!rest.empty()) {
    const std::string_view field = rest.substr(0, rest.find('|'));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    const size_t colon = field.find(':');
    std::string_view value = field.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    if (field.starts_with("x-forwarded-proto")) {
      out.set(field.substr(0, colon), value);
    } else {
      out.add(field.substr(0, colon), value);
    }
  }
}

std::string echo_of(const http::HeaderMap& request) {
  std::string out =
      "to " + std::string(request.get(Name::authority)) + " " + std::string(request.get(Name::path));
  for (std::string_view name : kEchoed)
    if (request.has(name)) out += " " + std::string(name) + "=" + std::string(request.get(name));
  return out;
}

std::string response_fields(const http::HeaderMap& response) {
  std::string out;
  for (const auto& field : response) {
    if (field.name != "r") continue;
    out += (out.empty() ? " r=" : "|") + std::string(field.value);
  }
  return out;
}

// What the connection manager and the router make of a match, in the words of the table.
std::string outcome(const model::RouteConfig& config, const RouteCase& c) {
  const auto request = http::make_headers(), response = http::make_headers();
  fill(c, *request);
  ext::StreamInfo info;
  ext::HttpInfo http;
  info.http = &http;
  http.request_headers = request.get();
  const auto match = config.match({.headers = *request, .info = info});
  if (!match) return "404";
  std::string out;
  if (const std::string location = model::redirect_location(*match, *request); !location.empty())
    out = " -> " + location;
  if (const auto* direct = std::get_if<model::DirectResponseAction>(&match->route->action)) {
    out = std::to_string(direct->status) + out + (direct->body.empty() ? "" : " " + direct->body);
  } else if (const auto* redirect = std::get_if<model::RedirectAction>(&match->route->action)) {
    out = std::to_string(redirect->status) + out;
  } else if (match->cluster != "echo") {
    return std::to_string(match->action()->cluster_not_found_status);
  } else {
    model::finalize_request(*match, *request, info, true);
    out = echo_of(*request);
    if (std::string_view(c.config).starts_with("rules") || std::string_view(c.config) == "actions")
      response->add(std::string_view("r"), "up");
  }
  model::apply_response_headers(*match, *response, info);
  return out + response_fields(*response);
}

TEST_CASE("requests find their route and are changed by it") {
  std::map<std::string, RouteConfigPtr> configs;
  for (const RouteText& text : kRouteConfigs) {
    auto made = load_routes(text.yaml, {"echo"});
    REQUIRE_MESSAGE(made.ok(), std::string(text.name) << ": " << made.error().message);
    configs[text.name] = std::move(made).value();
  }
  for (const RouteCase& c : kRouteCases) {
    const auto& config = configs[c.config];
    REQUIRE_MESSAGE(config != nullptr, c.config);
    const std::string got = outcome(*config, c);
    CHECK_MESSAGE(got == std::string(c.expected), describe(c));
  }
}

TEST_CASE("route configurations are refused as Envoy refuses them, and with their path") {
  for (const Row& row : kRouteRows) {
    const auto made = load_routes(row.yaml, {"c"});
    const std::string error = made.ok() ? "" : made.error().message;
    CHECK_MESSAGE(made.ok() == (row.verdict == Verdict::accepted), std::string(row.name) << ": " << error);
    CHECK_MESSAGE(error.find(row.part) != std::string::npos, std::string(row.name) << ": " << error);
  }
}

}  // namespace
}  // namespace sluice::config::test
