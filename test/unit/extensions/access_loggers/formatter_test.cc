#include "extensions/access_loggers/common/formatter.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <new>

#include "test/unit/extensions/access_loggers/stream.h"

using namespace sluice;
using namespace sluice::access_loggers;
using List = JsonTemplate::List;
using Object = JsonTemplate::Object;

namespace {

JsonTemplate str(const char* s) {
  return {std::string(s)};
}
JsonTemplate num(double d) {
  return {d};
}

std::string json(const JsonTemplate& t, bool omit = false, const ext::StreamInfo& info = recorded_stream()) {
  FormatOptions options;
  options.omit_empty_values = omit;
  auto f = make_json_formatter(t, options);
  REQUIRE_MESSAGE(f.ok(), (f.ok() ? "" : f.error().message));
  std::string out;
  (*f)->format(info, ext::AccessLogType::tcp_connection_end, out);
  return out;
}

}  // namespace

TEST_CASE("JSON: types, nesting and order of members are Envoy's") {
  setenv("SLUICE_TEST_ODD", "a\"b\\\x01\xc3\xa9\xff", 1);
  JsonTemplate nest{Object{
      {"b", str("%RESPONSE_FLAGS%")},
      {"a", str("%REQ(x)%")},
      {"list", {List{str("%CONNECTION_ID%"), str("lit"), num(2), {Object{{"q", str("%PROTOCOL%")}}}}}}}};
  JsonTemplate t{Object{{"zed", str("%BYTES_SENT%")},
                        {"alpha", str("x %BYTES_SENT% y")},
                        {"two", str("%BYTES_SENT%%BYTES_RECEIVED%")},
                        {"num", num(3)},
                        {"b", {true}},
                        {"nul", {}},
                        {"nest", nest},
                        {"esc", str("q\"\\\n\x01\xc3\xa9 </>&")},
                        {"code", str("%RESPONSE_CODE%")},
                        {"up", str("%UPSTREAM_HOST%")},
                        {"st", str("%START_TIME%")},
                        {"dur", str("%DURATION%")},
                        {"env", str("%ENVIRONMENT(SLUICE_TEST_ODD)%")},
                        {"port", str("%DOWNSTREAM_REMOTE_PORT%")},
                        {"meta", str("%DYNAMIC_METADATA(a:b)%")},
                        {"fs", str("%FILTER_STATE(a)%")},
                        {"typ", str("%ACCESS_LOG_TYPE%")},
                        {"attempts", str("%UPSTREAM_REQUEST_ATTEMPT_COUNT%")},
                        {"wire", str("%UPSTREAM_WIRE_BYTES_SENT%")},
                        {"us", str("%COMMON_DURATION(US_CX_BEG:US_CX_END:us)%")},
                        {"cid", str("%UPSTREAM_CONNECTION_ID%")},
                        {"empty", str("")}}};
  CHECK(json(t) ==
        "{\"alpha\":\"x 10 y\",\"attempts\":1,\"b\":true,\"cid\":2,\"code\":0,\"dur\":3,\"empty\":\"\","
        "\"env\":\"a\\u0022b\\u005c\\u0001\\u00c3\\u00a9\\u00ff\",\"esc\":\"q\\\"\\\\\\n\\u0001\xc3\xa9 "
        "</>&\",\"fs\":null,"
        "\"meta\":null,\"nest\":{\"a\":null,\"b\":\"-\",\"list\":[1,\"lit\",2,{\"q\":null}]},\"nul\":null,"
        "\"num\":3,\"port\":56120,"
        "\"st\":\"2026-11-22T03:28:20.243Z\",\"two\":\"105\",\"typ\":\"TcpConnectionEnd\",\"up\":\"127.0.0.1:"
        "19804\",\"us\":55,"
        "\"wire\":5,\"zed\":10}\n");
}

TEST_CASE("JSON: omit_empty_values leaves out what Envoy leaves out") {
  JsonTemplate nest{Object{
      {"b", str("%RESPONSE_FLAGS%")},
      {"a", str("%REQ(x)%")},
      {"list", {List{str("%CONNECTION_ID%"), str("%REQ(y)%"), num(2), {Object{{"q", str("%PROTOCOL%")}}}}}}}};
  JsonTemplate t{Object{{"zed", str("%BYTES_SENT%")},
                        {"alpha", str("x %REQ(X)% y")},
                        {"only", str("%REQ(X)%")},
                        {"nest", nest},
                        {"emptynest", {Object{{"q", str("%REQ(x)%")}}}},
                        {"nul", {}},
                        {"empty", str("")},
                        {"code", str("%RESPONSE_CODE%")}}};
  CHECK(json(t, true) ==
        "{\"alpha\":\"x  y\",\"code\":0,\"empty\":\"\",\"nest\":{\"b\":\"-\",\"list\":[1,2]},\"zed\":10}\n");
  CHECK(json({Object{{"list", {List{str("%REQ(a)%")}}}, {"object", {Object{}}}}}, true) == "{\"list\":[]}\n");
  CHECK(json({Object{{"list", {List{str("%REQ(a)%"), {}, num(1.5), {Object{}}}}}, {"object", {Object{}}}}}) ==
        "{\"list\":[null,null,1.5,{}],\"object\":{}}\n");
  CHECK(json({Object{{"only", str("%REQ(X)%")}}}, true) == "{}\n");
}

TEST_CASE("JSON: numbers and strings as Envoy writes them") {
  CHECK(json({List{num(1e3), num(0.1), num(-5), num(1e21), num(123456789012345678), num(4294967296),
                   num(2147483648)}}) == "[1000,0.1,-5,1e+21,123456789012345680,4294967296,2147483648]\n");
  setenv("SLUICE_TEST_UTF8", "q\"\\/<>&\x7f \xc3\xa9 \x01\n\t\b\f\r \xe2\x80\xa8", 1);
  CHECK(json({Object{{"v", str("%ENVIRONMENT(SLUICE_TEST_UTF8)%")}}}) ==
        "{\"v\":\"q\\\"\\\\/<>&\x7f \xc3\xa9 \\u0001\\n\\t\\b\\f\\r \xe2\x80\xa8\"}\n");
  auto info = recorded_stream();
  info.requested_server_name = "";
  info.termination_details = "say \"no\"\n";
  CHECK(json({Object{{"a", str("%CONNECTION_TERMINATION_DETAILS%")},
                     {"b", str("<%CONNECTION_TERMINATION_DETAILS%>")}}},
             false, info) == "{\"a\":\"say \\\"no\\\"\\n\",\"b\":\"<say \\\"no\\\"\\n>\"}\n");
  for (const char* bad :
       {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x80", "\x80", "\xf8\x88\x80\x80\x80"}) {
    info.termination_details = bad;
    CHECK(json({Object{{"a", str("%CONNECTION_TERMINATION_DETAILS%")}}}, false, info).find("\\u00") !=
          std::string::npos);
  }
}

TEST_CASE("JSON: errors name the member") {
  auto f = make_json_formatter({Object{{"outer", {Object{{"inner", {List{num(1), str("x %NOPE%")}}}}}}}});
  REQUIRE_FALSE(f.ok());
  CHECK(f.error().message.starts_with("outer.inner[1]: %NOPE% at position 2: "));
}

TEST_CASE("text: omit_empty_values writes nothing for what is missing") {
  FormatOptions options;
  options.omit_empty_values = true;
  auto f = make_text_formatter("[%REQ(X)%] [%UPSTREAM_CLUSTER%] [%RESPONSE_FLAGS%] [%PROTOCOL%]\n", options);
  REQUIRE(f.ok());
  std::string out;
  (*f)->format(recorded_stream(), ext::AccessLogType::tcp_connection_end, out);
  CHECK(out == "[] [c.one] [-] []\n");
}

// ThreadSanitizer brings an operator new of its own, which cannot be replaced.
#if !__has_feature(thread_sanitizer)
namespace {
thread_local long allocations = 0;
}

void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  std::abort();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

TEST_CASE("a record costs no allocation") {
  auto text = make_text_formatter(std::string(kDefaultFormat) +
                                  "%START_TIME(%Y %s.%6f)% %RESPONSE_FLAGS_LONG% %STREAM_ID% %UNIQUE_ID% "
                                  "%UPSTREAM_CLUSTER% %DOWNSTREAM_LOCAL_ADDRESS%");
  auto json = make_json_formatter({Object{
      {"a", str("%START_TIME%")}, {"b", str("<%UPSTREAM_HOST%>")}, {"c", {List{str("%BYTES_SENT%")}}}}});
  REQUIRE(text.ok());
  REQUIRE(json.ok());
  auto info = recorded_stream();
  info.downstream_local = Address::parse("[2001:db8:1111:2222:3333:4444:5555:6666]:12345").value();
  info.flags.set(ext::ResponseFlag::upstream_connection_termination);
  std::string out;
  for (int i = 0; i < 2; ++i) {
    out.clear();
    long before = allocations;
    (*text)->format(info, ext::AccessLogType::tcp_connection_end, out);
    (*json)->format(info, ext::AccessLogType::tcp_connection_end, out);
    if (i == 1) CHECK(allocations == before);
  }
}
#endif
