#include <doctest/doctest.h>

#include "extensions/access_loggers/common/formatter.h"
#include "test/unit/extensions/access_loggers/http_stream.h"

// The expectations are what real Envoy 1.40 wrote for such requests.
using namespace sluice;
using namespace sluice::access_loggers;
using http::Name;

namespace {

std::string text(std::string_view format, const ext::StreamInfo& info,
                 ext::AccessLogType type = ext::AccessLogType::downstream_end) {
  auto f = make_text_formatter(format);
  REQUIRE_MESSAGE(f.ok(), (f.ok() ? "" : f.error().message));
  std::string out;
  (*f)->format(info, type, out);
  return out;
}

std::string json(std::string_view format, const ext::StreamInfo& info) {
  auto f = make_json_formatter({JsonTemplate::Object{{"x", {std::string(format)}}}});
  REQUIRE_MESSAGE(f.ok(), (f.ok() ? "" : f.error().message));
  std::string out;
  (*f)->format(info, ext::AccessLogType::downstream_end, out);
  REQUIRE(out.starts_with("{\"x\":"));
  return out.substr(5, out.size() - 7);
}

std::string refusal(std::string_view format) {
  auto f = make_text_formatter(format);
  return f.ok() ? "" : f.error().message;
}

}  // namespace

TEST_CASE("HTTP: the default format") {
  HttpStream s;
  CHECK(text(kDefaultFormat, s.info) ==
        "[2026-11-22T03:28:20.243Z] \"GET /vc/x?a=%41%2f&b=%20z%26&c=x+y%2B&d=%zz%00&%61=q&z HTTP/1.1\" 200 "
        "- 7 5 "
        "5 7 \"-\" \"-\" \"540310bb-54cb-465a-85ff-3fe3770f3a8a\" \"ex.com\" \"127.0.0.1:19804\"\n");
}

TEST_CASE("HTTP: headers and trailers") {
  HttpStream s;
  CHECK(text("%REQ(:METHOD)%|%REQ(A?B):3%|%REQ(B?A)%|%REQ(B)%|%RESP(X-Up)%|%RESP(:STATUS)%|%TRAILER(X-T)%",
             s.info) == "GET|abc|abcdef|-|yes|200|-");
  s.http.response_trailers = &s.trailers;
  s.request.add("empty", "");
  CHECK(text("%TRAILER(X-T)%|%REQ(EMPTY?A)%|%RESPONSE_TRAILERS_BYTES%", s.info) == "tv||5");
  CHECK(text("%REQUEST_HEADERS_BYTES%|%RESPONSE_HEADERS_BYTES%", s.info) ==
        std::to_string(s.request.bytes()) + "|" + std::to_string(s.response.bytes()));
  s.response.set("x-up", "y\xc3\xa9s\xff\"\\");
  CHECK(json("%RESP(X-UP)%", s.info) == "\"y\\u00c3\\u00a9s\\u00ff\\u0022\\u005c\"");
}

TEST_CASE("HTTP: what no request line was understood of") {
  HttpStream s;
  s.http.request_headers = nullptr;
  s.http.route = nullptr;
  CHECK(text("%REQ(:METHOD)%|%PATH%|%QUERY_PARAM(a)%|%QUERY_PARAMS%|%STREAM_ID%|%ROUTE_NAME%|%REQUEST_"
             "HEADERS_BYTES%|"
             "%GRPC_STATUS%|%METADATA(ROUTE:f:k)%",
             s.info) == "-|-|-|-|-|-|0|-|-");
  CHECK(json("%STREAM_ID%", s.info) == "null");
}

TEST_CASE("HTTP: path and query") {
  HttpStream s;
  CHECK(text("%PATH(NQ)%|%PATH(:PATH):4%|%PATH(NQ:ORIG)%|%PATH(NQ:ORIG_OR_PATH):3%", s.info) ==
        "/vc/x|/vc/|-|/vc");
  s.request.add(Name::x_envoy_original_path, "/p?q=1");
  CHECK(text("%PATH%|%PATH(NQ:ORIG)%|%PATH(NQ:PATH)%|%PATH(WQ:ORIG)%", s.info) == "/p?q=1|/p|/vc/x|/p?q=1");
  using namespace std::literals;
  CHECK(text("%QUERY_PARAM(a)%|%QUERY_PARAM(b)%|%QUERY_PARAM(c)%|%QUERY_PARAM(d)%|%QUERY_PARAM(%61)%|%QUERY_"
             "PARAM(z)%|"
             "%QUERY_PARAM(b):1%",
             s.info) == "A/| z&|x+y+|%zz\0|-|| "sv);
  CHECK(text("%QUERY_PARAMS%|%QUERY_PARAMS(DECODED)%|%QUERY_PARAMS(DECODED):4%", s.info) ==
        "a=%41%2f&b=%20z%26&c=x+y%2B&d=%zz%00&%61=q&z|a=A/&b=%20z&&c=x+y+&d=zz%00&a=q&z|a=A/");
  s.request.set(Name::path, "/none");
  CHECK(text("%QUERY_PARAMS%|%QUERY_PARAM(a)%", s.info) == "-|-");
}

TEST_CASE("HTTP: the connection manager's and the router's words") {
  HttpStream s;
  CHECK(text("%PROTOCOL%|%UPSTREAM_PROTOCOL%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%ROUTE_NAME%|%VIRTUAL_"
             "CLUSTER_NAME%|"
             "%ACCESS_LOG_TYPE%|%STREAM_ID%|%UPSTREAM_DETECTED_CLOSE_TYPE%",
             s.info) ==
        "HTTP/1.1|HTTP/2|200|via_upstream|main|vc|DownstreamEnd|540310bb-54cb-465a-85ff-3fe3770f3a8a|Normal");
  s.info.response_code_details = "a b\tc";
  CHECK(text("%RESPONSE_CODE_DETAILS%|%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", s.info) == "a_b_c|a b\tc");
  CHECK(json("%RESPONSE_CODE%", s.info) == "200");
  CHECK(json("%PROTOCOL%", s.info) == "\"HTTP/1.1\"");
  s.info.upstream_remote = {};
  s.http.upstream_protocol.reset();
  CHECK(json("%UPSTREAM_PROTOCOL%", s.info) == "null");
  CHECK(json("%UPSTREAM_DETECTED_CLOSE_TYPE%", s.info) == "null");
  CHECK(text("%UPSTREAM_HOSTS_ATTEMPTED%", s.info) == "-");
}

TEST_CASE("HTTP: a local reply's body is there while the reply is made") {
  HttpStream s;
  s.http.local_reply_body = "denied";
  CHECK(text("<%LOCAL_REPLY_BODY%>", s.info) == "<>");
  CHECK(text("<%LOCAL_REPLY_BODY%>", s.info, ext::AccessLogType::not_set) == "<denied>");
}

TEST_CASE("HTTP: durations") {
  HttpStream s;
  CHECK(text("%DURATION%|%REQUEST_DURATION%|%REQUEST_TX_DURATION%|%RESPONSE_DURATION%|%RESPONSE_TX_DURATION%|"
             "%UPSTREAM_CONNECTION_POOL_READY_DURATION%",
             s.info) == "5|1|2|3|2|1");
  auto from_start = [&](std::string_view point) {
    return text("%COMMON_DURATION(DS_RX_BEG:" + std::string(point) + ":us)%", s.info);
  };
  CHECK(from_start("DS_RX_END") == "1031");
  CHECK(from_start("US_CX_BEG") == "184");
  CHECK(from_start("US_CX_END") == "239");
  CHECK(from_start("US_HS_END") == "-");
  CHECK(from_start("US_TX_BEG") == "2659");
  CHECK(from_start("US_TX_END") == "2660");
  CHECK(from_start("US_RX_BEG") == "3725");
  CHECK(from_start("US_RX_BODY_BEG") == "3806");
  CHECK(from_start("US_RX_END") == "4811");
  CHECK(from_start("DS_TX_BEG") == "4801");
  CHECK(from_start("DS_TX_END") == "5847");
  CHECK(from_start("whatever") == "-");
  CHECK(text("%COMMON_DURATION(DS_CX_BEG:DS_RX_BEG:us)%|%COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)%|"
             "%COMMON_DURATION(US_RX_END:DS_RX_BEG:us)%",
             s.info) == "323|-|-");
  s.http.last_upstream_tx_byte = s.http.first_upstream_rx_byte = {};
  CHECK(text("%REQUEST_TX_DURATION%|%RESPONSE_DURATION%|%RESPONSE_TX_DURATION%", s.info) == "-|-|-");
  CHECK(json("%REQUEST_TX_DURATION%", s.info) == "null");
  CHECK(json("%REQUEST_DURATION%", s.info) == "1");
}

TEST_CASE("TCP: the connection's own points") {
  auto info = recorded_stream();
  CHECK(text("%COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)%|%COMMON_DURATION(DS_CX_BEG:US_CX_BEG:us)%|"
             "%COMMON_DURATION(DS_RX_BEG:DS_CX_BEG:us)%",
             info) == "3100|184|0");
  CHECK(text("%UPSTREAM_HOSTS_ATTEMPTED%", info) == "127.0.0.1:19804");
}

TEST_CASE("HTTP: bytes") {
  HttpStream s;
  CHECK(
      text("%DOWNSTREAM_WIRE_BYTES_RECEIVED%|%DOWNSTREAM_WIRE_BYTES_SENT%|%DOWNSTREAM_HEADER_BYTES_RECEIVED%|"
           "%DOWNSTREAM_HEADER_BYTES_SENT%|%UPSTREAM_WIRE_BYTES_RECEIVED%|%UPSTREAM_WIRE_BYTES_SENT%|"
           "%UPSTREAM_HEADER_BYTES_RECEIVED%|%UPSTREAM_HEADER_BYTES_SENT%|%BYTES_RECEIVED%|%BYTES_SENT%",
           s.info) == "86|159|41|135|54|233|28|191|7|5");
  CHECK(text("%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%|%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%|"
             "%UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%",
             s.info) == "41|135|" + std::to_string(s.request.bytes()));
}

TEST_CASE("HTTP: the status of gRPC") {
  HttpStream s;
  const std::string_view all =
      "%GRPC_STATUS%|%GRPC_STATUS(CAMEL_STRING)%|%GRPC_STATUS(SNAKE_STRING)%|%GRPC_STATUS(NUMBER)%|%GRPC_"
      "STATUS_NUMBER%";
  CHECK(text(all, s.info) == "-|-|-|-|-");
  s.request.add(Name::content_type, "application/grpc");
  CHECK(text(all, s.info) == "Unknown|Unknown|UNKNOWN|2|2");
  s.http.response_trailers = &s.trailers;
  s.trailers.add(Name::grpc_status, "1");
  CHECK(text(all, s.info) == "Canceled|Canceled|CANCELLED|1|1");
  CHECK(json("%GRPC_STATUS(NUMBER)%", s.info) == "1");
  CHECK(json("%GRPC_STATUS%", s.info) == "\"Canceled\"");
  s.trailers.set(Name::grpc_status, "77");
  CHECK(text(all, s.info) == "77|77|77|77|77");
  s.trailers.set(Name::grpc_status, "x");
  CHECK(text(all, s.info) == "-1|-1|-1|-1|-1");
}

TEST_CASE("HTTP: filter state and metadata") {
  HttpStream s;
  const std::string_view all =
      "%FILTER_STATE(envoy.filters.http.grpc_stats)%|%FILTER_STATE(envoy.filters.http.grpc_stats:TYPED):5%|"
      "%FILTER_STATE(envoy.filters.http.grpc_stats:PLAIN)%|"
      "%FILTER_STATE(envoy.filters.http.grpc_stats:FIELD:request_message_count)%";
  CHECK(text(all, s.info) == "-|-|-|-");
  s.http.grpc_messages = {1, 2};
  CHECK(text(all, s.info) == "{\"requestMessageCount\":\"1\",\"responseMessageCount\":\"2\"}|{\"req|1,2|-");
  CHECK(json("%FILTER_STATE(envoy.filters.http.grpc_stats:TYPED):5%", s.info) ==
        "{\"request_message_count\":\"1\",\"response_message_count\":\"2\"}");
  s.http.grpc_messages = {0, 2};
  CHECK(json("%FILTER_STATE(envoy.filters.http.grpc_stats)%", s.info) ==
        "{\"response_message_count\":\"2\"}");
  CHECK(text("%FILTER_STATE(other)%|%METADATA(ROUTE:f:k)%|%METADATA(ROUTE:f:o:i)%|%METADATA(ROUTE:f:x)%|"
             "%METADATA(DYNAMIC:f:k)%",
             s.info) == "-|v|w|-|-");
}

TEST_CASE("dynamic metadata") {
  HttpStream s;
  const char* all = "%DYNAMIC_METADATA(f:k)%|%METADATA(DYNAMIC:f:k)%|%DYNAMIC_METADATA(f)%";
  CHECK(text(all, s.info) == "-|-|-");
  s.info.dynamic_metadata = std::make_shared<ext::Metadata>();
  auto& fields = (*s.info.dynamic_metadata)["f"];
  fields = {
      {"k", "\"v\""}, {"q", R"("a\"b")"}, {"n", "2.5"}, {"b", "true"}, {"t", R"({"a":{"b":"c","d":[1]}})"}};
  CHECK(text(all, s.info) == R"(v|v|{"b":true,"k":"v","n":2.5,"q":"a\"b","t":{"a":{"b":"c","d":[1]}}})");
  CHECK(text("%DYNAMIC_METADATA(f:q)%|%DYNAMIC_METADATA(f:q):2%|%DYNAMIC_METADATA(f:n)%|%DYNAMIC_METADATA(f:"
             "b):3%",
             s.info) == "a\"b|a\"|2.5|tru");
  CHECK(text("%DYNAMIC_METADATA(f:t:a:b)%|%DYNAMIC_METADATA(f:t:a:d)%|%DYNAMIC_METADATA(f:t:a)%", s.info) ==
        R"(c|[1]|{"b":"c","d":[1]})");
  CHECK(text("%DYNAMIC_METADATA(f:t:x)%|%DYNAMIC_METADATA(f:k:x)%|%DYNAMIC_METADATA(f:x)%|%DYNAMIC_METADATA("
             "g:k)%",
             s.info) == "-|-|-|-");
  CHECK(json("%DYNAMIC_METADATA(f:k)%", s.info) == "\"v\"");
  CHECK(json("%DYNAMIC_METADATA(f:n)%", s.info) == "2.5");
  CHECK(json("%DYNAMIC_METADATA(f:t)%", s.info) == R"({"a":{"b":"c","d":[1]}})");
  CHECK(json("%DYNAMIC_METADATA(f:t:a:b)%", s.info) == "\"c\"");
  CHECK(json("%DYNAMIC_METADATA(f:q):3%", s.info) == R"("a\"b")");
  CHECK(json("%DYNAMIC_METADATA(f:b):3%", s.info) == "true");
  CHECK(json("%DYNAMIC_METADATA(f:x)%", s.info) == "null");
}

TEST_CASE("HTTP: hosts that were tried") {
  HttpStream s;
  s.http.earlier_hosts = {{Address::parse("10.0.0.1:80").value(), "one:80"},
                          {Address::parse("10.0.0.2:81").value(), ""}};
  CHECK(text("%UPSTREAM_HOSTS_ATTEMPTED%|%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%|%UPSTREAM_HOST_NAMES_"
             "ATTEMPTED%|"
             "%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%",
             s.info) ==
        "10.0.0.1:80,10.0.0.2:81,127.0.0.1:19804|10.0.0.1,10.0.0.2,127.0.0.1|one:80,10.0.0.2:81,127.0.0.1:"
        "19804|"
        "one,10.0.0.2,127.0.0.1");
  s.info.upstream_remote = s.http.earlier_hosts[1].address;
  CHECK(text("%UPSTREAM_HOSTS_ATTEMPTED%", s.info) == "10.0.0.1:80,10.0.0.2:81");
}

TEST_CASE("HTTP: whom the client asked for") {
  HttpStream s;
  const std::string_view all =
      "%REQUESTED_SERVER_NAME%|%REQUESTED_SERVER_NAME(SNI_FIRST)%|%REQUESTED_SERVER_NAME(HOST_FIRST:HOST)%|"
      "%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)%";
  CHECK(text(all, s.info) == "-|ex.com|ex.com|-");
  s.request.add(Name::x_envoy_original_host, "first.com");
  s.info.requested_server_name = "sni.com";
  CHECK(text(all, s.info) == "sni.com|sni.com|ex.com|first.com");
}

TEST_CASE("HTTP: the first of several") {
  HttpStream s;
  CHECK(text(R"(%COALESCE({"operators":["REQUESTED_SERVER_NAME",{"command":"REQ","param":":authority"}]})%)",
             s.info) == "ex.com");
  CHECK(text(R"(%COALESCE({"operators":[{"command":"REQ","param":"a","max_length":2},"HOSTNAME"]}):1%)",
             s.info) == "a");
  CHECK(json(R"(%COALESCE({"operators":["REQUESTED_SERVER_NAME","RESPONSE_CODE"]})%)", s.info) == "200");
  CHECK(json(R"(%COALESCE({"operators":["REQUESTED_SERVER_NAME"]})%)", s.info) == "null");
}

TEST_CASE("HTTP: parameters that Envoy refuses") {
  for (std::string_view f : {"%GRPC_STATUS(X)%",
                             "%GRPC_STATUS():3%",
                             "%QUERY_PARAMS(X)%",
                             "%PATH(X)%",
                             "%PATH(NQ:X)%",
                             "%REQUESTED_SERVER_NAME(X)%",
                             "%REQUESTED_SERVER_NAME(SNI_ONLY:Q)%",
                             "%REQUESTED_SERVER_NAME():3%",
                             "%METADATA(FOO:a)%",
                             "%METADATA(CLUSTER:a:b)%",
                             "%METADATA(ROUTE:a)%",
                             "%FILTER_STATE(:PLAIN)%",
                             "%FILTER_STATE(a:B)%",
                             "%FILTER_STATE(a:FIELD)%",
                             "%FILTER_STATE(a:PLAIN:x)%",
                             "%REQ(A?B?C)%",
                             "%REQ(a b)%",
                             "%COALESCE({})%",
                             "%COALESCE(x)%",
                             R"(%COALESCE({"operators":[]})%)",
                             R"(%COALESCE({"operators":["FOO"]})%)",
                             R"(%COALESCE({"operators":[{"command":"UPSTREAM_HOST","max_length":3}]})%)",
                             "%UPSTREAM_HOSTS_ATTEMPTED(a)%",
                             "%TRACE_ID(a)%",
                             "%STREAM_ID:3%",
                             "%CEL(response.code)%"}) {
    CAPTURE(f);
    CHECK(refusal(f) != "");
  }
  for (std::string_view f :
       {"%PATH():3%", "%QUERY_PARAMS():3%", "%REQ(:METHOD?)%", "%RESPONSE_CODE_DETAILS(X)%"}) {
    CAPTURE(f);
    CHECK(refusal(f) == "");
  }
}
