#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "core/json.h"
#include "extensions/tracers/zipkin/b3.h"
#include "extensions/tracers/zipkin/span.h"

using namespace sluice;
using namespace extensions::zipkin;

namespace {

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

Extracted read(Fields fields) {
  http::HeaderMap headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  return extract(headers);
}

constexpr std::string_view kTrace = "463ac35c9f6413ad", kSpan = "a2fb4a1d1a96d312",
                           kParent = "0020000000000001", kHigh = "48485a3953bb6124";

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (std::string_view part : parts) out += part;
  return out;
}

}  // namespace

TEST_CASE("b3: several headers") {
  CHECK_FALSE(read({}).context);
  CHECK_FALSE(read({{"x-b3-traceid", kTrace}}).context);
  const Extracted all = read({{"x-b3-traceid", joined({kHigh, kTrace})},
                              {"x-b3-spanid", kSpan},
                              {"x-b3-parentspanid", kParent},
                              {"x-b3-sampled", "true"}});
  REQUIRE(all.context);
  CHECK(all.context->trace_high == 0x48485a3953bb6124);
  CHECK(all.context->trace == 0x463ac35c9f6413ad);
  CHECK(all.context->span == 0xa2fb4a1d1a96d312);
  CHECK(all.context->parent == 0x20000000000001);
  CHECK(all.sampled == true);
  CHECK_FALSE(all.single_header);
  CHECK(read({{"x-b3-sampled", "0"}}).sampled == false);
  CHECK(read({{"x-b3-sampled", "yes"}}).sampled == false);
  CHECK_FALSE(read({{"x-b3-flags", "1"}}).sampled);
  // A parent that is nobody is none.
  CHECK_FALSE(
      read({{"x-b3-traceid", "1"}, {"x-b3-spanid", "2"}, {"x-b3-parentspanid", "0"}}).context->parent);
}

TEST_CASE("b3: ids that are none") {
  for (std::string_view bad : {"", "xyz", "-1", "0x1", " 1", "463ac35c9f6413ad0"}) {
    CAPTURE(bad);
    CHECK(read({{"x-b3-traceid", bad}, {"x-b3-spanid", kSpan}}).broken);
    CHECK(read({{"x-b3-traceid", kTrace}, {"x-b3-spanid", bad}}).broken);
    if (!bad.empty())
      CHECK(read({{"x-b3-traceid", kTrace}, {"x-b3-spanid", kSpan}, {"x-b3-parentspanid", bad}}).broken);
  }
}

TEST_CASE("b3: one header") {
  const std::string ids = joined({kTrace, "-", kSpan});
  for (const auto& [text, sampled] : {std::pair<std::string, bool>{ids + "-1", true},
                                      {ids + "-0", false},
                                      {ids + "-d", true},
                                      {joined({kHigh, ids, "-1-", kParent}), true}}) {
    CAPTURE(text);
    const Extracted found = read({{"b3", text}, {"x-b3-sampled", "0"}});
    CHECK_FALSE(found.broken);
    CHECK(found.single_header);
    CHECK(found.context->span == 0xa2fb4a1d1a96d312);
    CHECK(found.sampled == sampled);
  }
  CHECK_FALSE(read({{"b3", ids}}).sampled);
  CHECK(read({{"b3", "0"}}).sampled == false);
  CHECK_FALSE(read({{"b3", "1"}}).context);
  for (const std::string& bad :
       {std::string("x"), std::string(), ids + "-", ids + "-x", ids + "-1-", ids + "-" + std::string(kParent),
        ids + "-1-" + std::string(kParent) + "0", ids.substr(1), joined({kTrace, kSpan}), ids + "1"}) {
    CAPTURE(bad);
    CHECK(read({{"b3", bad}}).broken);
  }
}

TEST_CASE("b3: what the next hop is told") {
  http::HeaderMap request;
  request.add("x-b3-spanid", "old");
  inject({.trace = 1, .span = 2}, true, false, request);
  CHECK(request.get("x-b3-traceid") == "0000000000000001");
  CHECK(request.get("x-b3-spanid") == "0000000000000002");
  CHECK_FALSE(request.has("x-b3-parentspanid"));
  CHECK(request.get("x-b3-sampled") == "1");
  inject({.trace_high = 3, .trace = 1, .span = 2, .parent = 0xfedcba9876543210}, false, true, request);
  CHECK(request.get("b3") == "00000000000000030000000000000001-0000000000000002-0-fedcba9876543210");
  // And it is understood.
  CHECK(extract(request).context->parent == 0xfedcba9876543210);
}

TEST_CASE("zipkin: a span as JSON") {
  SpanRecord span;
  span.context = {.trace = 0xabc, .span = 0xdef, .parent = 1};
  span.kind = SpanRecord::Kind::server;
  span.shared = true;
  span.name = "a \"name\"";
  span.start = WallTime(std::chrono::microseconds(1'584'324'295'476'870));
  span.end = span.start + std::chrono::milliseconds(2);
  span.duration = std::chrono::nanoseconds(2'000'999);
  span.tags = {{"a", "b\n"}, {"c", "d"}};
  span.annotations = {{span.start + std::chrono::milliseconds(1), "half"}};
  std::string text;
  append_json(span, "front", "192.0.2.1", text);
  auto json = Json::parse(text);
  REQUIRE(json.ok());
  CHECK((*json)["traceId"].as_string() == "0000000000000abc");
  CHECK((*json)["id"].as_string() == "0000000000000def");
  CHECK((*json)["parentId"].as_string() == "0000000000000001");
  CHECK((*json)["kind"].as_string() == "SERVER");
  CHECK((*json)["name"].as_string() == "a \"name\"");
  CHECK((*json)["timestamp"].as_int() == 1'584'324'295'476'870);
  CHECK((*json)["duration"].as_int() == 2000);
  CHECK((*json)["shared"].as_bool());
  CHECK((*json)["localEndpoint"].dump() == R"({"ipv4":"192.0.2.1","port":0,"serviceName":"front"})");
  CHECK((*json)["annotations"].dump() ==
        R"([{"timestamp":1584324295477870,"value":"half"},{"timestamp":1584324295478870,"value":"ss"}])");
  CHECK((*json)["tags"].dump() == R"({"a":"b\n","c":"d"})");

  text.clear();
  SpanRecord bare;
  bare.context = {.trace_high = 1, .trace = 2, .span = 3};
  append_json(bare, "", "2001:db8::1", text);
  json = Json::parse(text);
  REQUIRE(json.ok());
  CHECK((*json)["traceId"].as_string() == "00000000000000010000000000000002");
  CHECK((*json)["kind"].as_string() == "CLIENT");
  CHECK((*json)["localEndpoint"].dump() == R"({"ipv6":"2001:db8::1","port":0})");
  CHECK((*json)["annotations"].items()[0]["value"].as_string() == "cr");
  for (const char* absent : {"parentId", "name", "duration", "shared", "tags"})
    CHECK_FALSE(json->has(absent));
}
