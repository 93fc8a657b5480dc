#include "extensions/access_loggers/common/operators.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "extensions/access_loggers/common/formatter.h"
#include "test/unit/extensions/access_loggers/stream.h"
#include "test/unit/extensions/fake_tls_info.h"

using namespace sluice;
using namespace sluice::access_loggers;

namespace {

std::string text(std::string_view format, const ext::StreamInfo& info = recorded_stream()) {
  auto f = make_text_formatter(format);
  REQUIRE_MESSAGE(f.ok(), (f.ok() ? "" : f.error().message));
  std::string out;
  (*f)->format(info, ext::AccessLogType::tcp_connection_end, out);
  return out;
}

std::string refusal(std::string_view format) {
  auto f = make_text_formatter(format);
  return f.ok() ? "" : f.error().message;
}

}  // namespace

TEST_CASE("the default format") {
  CHECK(text(kDefaultFormat) ==
        "[2026-11-22T03:28:20.243Z] \"- - -\" 0 - 5 10 3 - \"-\" \"-\" \"-\" \"-\" \"127.0.0.1:19804\"\n");
  CHECK(text(kDefaultFormat, recorded_failure()) ==
        "[2026-11-22T03:28:20.250Z] \"- - -\" 0 UF,URX 0 0 0 - \"-\" \"-\" \"-\" \"-\" \"127.0.0.1:1\"\n");
}

TEST_CASE("every operator for TCP gives what Envoy gave") {
  CHECK(
      text("%START_TIME%|%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%|%START_TIME(%3f %6f %9f "
           "%f)%|%START_TIME(%s.%3f)%|"
           "%BYTES_RECEIVED%|%BYTES_SENT%|%DURATION%|%CONNECTION_ID%|%RESPONSE_FLAGS%|%RESPONSE_FLAGS_LONG%|%"
           "UPSTREAM_HOST%|"
           "%UPSTREAM_HOST_NAME%|%UPSTREAM_CLUSTER%|%UPSTREAM_CLUSTER_RAW%|%UPSTREAM_LOCAL_ADDRESS%|"
           "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%UPSTREAM_LOCAL_PORT%|%UPSTREAM_REMOTE_ADDRESS%|"
           "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%UPSTREAM_REMOTE_PORT%") ==
      "2026-11-22T03:28:20.243Z|2026/11/22T03:28:20+0000 1795318100|243 243068 243068000 "
      "243068000|1795318100.243|5|10|3|1|-|"
      "-|127.0.0.1:19804|host1|c.one|c.one|127.0.0.1:43372|127.0.0.1|43372|127.0.0.1:19804|127.0.0.1|19804");
  CHECK(text("%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|%DOWNSTREAM_LOCAL_PORT%|"
             "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS_"
             "WITHOUT_PORT%|"
             "%DOWNSTREAM_REMOTE_PORT%|%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%|%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_"
             "WITHOUT_PORT%|"
             "%DOWNSTREAM_DIRECT_REMOTE_PORT%|%ROUTE_NAME%|%FILTER_CHAIN_NAME%|%VIRTUAL_CLUSTER_NAME%|%"
             "REQUESTED_SERVER_NAME%|"
             "%CONNECTION_TERMINATION_DETAILS%|%UPSTREAM_TRANSPORT_FAILURE_REASON%|%ACCESS_LOG_TYPE%|%EMIT_"
             "TIME(%Y)%|%PROTOCOL%|"
             "%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%REQ(:METHOD?X)%|%RESP(A)%|%TRAILER(B)%|%DYNAMIC_"
             "METADATA(a:b)%|"
             "%FILTER_STATE(x:PLAIN)%|%COMMON_DURATION(DS_"
             "RX_BEG:DS_TX_END:us)%") ==
        "127.0.0.1:19802|127.0.0.1|19802|127.0.0.1:19802|127.0.0.1:56120|127.0.0.1|56120|127.0.0.1:56120|127."
        "0.0.1|56120|-|fc1|"
        "-|-|-|-|TcpConnectionEnd|2026|-|0|-|-|-|-|-|-|-");
  CHECK(
      text("%UPSTREAM_WIRE_BYTES_SENT%|%UPSTREAM_WIRE_BYTES_RECEIVED%|%UPSTREAM_HEADER_BYTES_SENT%|"
           "%DOWNSTREAM_WIRE_BYTES_SENT%|%DOWNSTREAM_WIRE_BYTES_RECEIVED%|%DOWNSTREAM_HEADER_BYTES_RECEIVED%|"
           "%REQUEST_DURATION%|%UPSTREAM_CONNECTION_ID%|%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%UPSTREAM_TLS_"
           "VERSION%|"
           "%UPSTREAM_CONNECTION_POOL_READY_DURATION%|%TRACE_ID%|%UPSTREAM_DETECTED_CLOSE_TYPE%|"
           "%DOWNSTREAM_DETECTED_CLOSE_TYPE%|%CUSTOM_FLAGS%|%%|%PATH(NQ)%|%QUERY_PARAM(x)%") ==
      "5|10|0|10|5|0|-|2|1|-|0|-|Normal|Normal||%|-|-");
  CHECK(text("%COMMON_DURATION(DS_RX_BEG:US_CX_BEG:us)%|%COMMON_DURATION(DS_RX_BEG:US_CX_END:ns)%|"
             "%COMMON_DURATION(US_CX_BEG:US_CX_END)%|%COMMON_DURATION(US_CX_END:DS_RX_BEG:ns)%|%COMMON_"
             "DURATION(FOO:BAR)%") == "184|239500|0|-|-");
  CHECK(text("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(16)%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(99)%|"
             "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(x)%|%UPSTREAM_HOST_NAME_WITHOUT_PORT%") ==
        "127.0.0.0/16|127.0.0.1/32|127.0.0.1|host1");
}

TEST_CASE("a failed connect gives what Envoy gave") {
  CHECK(text("%RESPONSE_FLAGS%|%RESPONSE_FLAGS_LONG%|%UPSTREAM_HOST%|%UPSTREAM_CLUSTER%|%UPSTREAM_LOCAL_"
             "ADDRESS%|"
             "%UPSTREAM_TRANSPORT_FAILURE_REASON%|%CONNECTION_TERMINATION_DETAILS%|%UPSTREAM_REQUEST_ATTEMPT_"
             "COUNT%|"
             "%UPSTREAM_WIRE_BYTES_SENT%|%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%|"
             "%RESPONSE_CODE_DETAILS%|%FILTER_CHAIN_NAME%|%UPSTREAM_REMOTE_ADDRESS%|%UPSTREAM_HOST_NAME%|%"
             "UPSTREAM_CONNECTION_ID%",
             recorded_failure()) ==
        "UF,URX|UpstreamConnectionFailure,UpstreamRetryLimitExceeded|127.0.0.1:1|dead|-|"
        "delayed_connect_error:_Connection_refused|-|1|0|[::1]:19803|::1|-|-|-|127.0.0.1:1|0");
}

TEST_CASE("values of the process and of the workload") {
  setenv("SLUICE_TEST_VALUE", "abcdef", 1);
  unsetenv("SLUICE_TEST_NONE");
  CHECK(text("%ENVIRONMENT(SLUICE_TEST_VALUE)%|%ENVIRONMENT(SLUICE_TEST_VALUE):3%|%ENVIRONMENT(SLUICE_TEST_"
             "NONE)%") == "abcdef|abc|-");
  CHECK(text("%HOSTNAME%").size() > 0);
  auto info = recorded_stream();
  CHECK(text("%SLUICE_WORKLOAD%", info) == "-");
  info.workload = std::make_shared<const std::string>("shop/cart");
  CHECK(text("%SLUICE_WORKLOAD%", info) == "shop/cart");
}

TEST_CASE("a Unix socket has a path and no port; a bad server name is marked") {
  auto info = recorded_stream();
  info.downstream_local = Address::pipe("/run/x.sock").value();
  info.requested_server_name = "a b.example";
  CHECK(text("%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT% "
             "%REQUESTED_SERVER_NAME%",
             info) == "/run/x.sock /run/x.sock - invalid:a_b.example");
  info.requested_server_name = "a-b.example";
  info.downstream_close = ext::CloseType::remote_reset;
  CHECK(text("%REQUESTED_SERVER_NAME% %DOWNSTREAM_DETECTED_CLOSE_TYPE%", info) == "a-b.example RemoteReset");
}

TEST_CASE("a stream keeps its id, a record has its own") {
  auto info = recorded_stream();
  std::string id = text("%STREAM_ID%", info);
  CHECK(id.size() == 36);
  CHECK(id[14] == '4');
  CHECK(std::string("89ab").find(id[19]) != std::string::npos);
  CHECK(text("%STREAM_ID%", info) == id);
  info.connection_id = 2;
  CHECK(text("%STREAM_ID%", info) != id);
  CHECK(text("%UNIQUE_ID%", info) != text("%UNIQUE_ID%", info));
}

TEST_CASE("what Envoy refuses, we refuse, and say where") {
  for (const char* f : {"%FOO%",
                        "abc %START_TIME",
                        "%REQ(a%",
                        "%REQ(a):x%",
                        "%req(a)%",
                        "%START_TIME(%Y%",
                        "%START_TIME(%n)%",
                        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:xs)%",
                        "%COMMON_DURATION(a)%",
                        "%COMMON_DURATION(a:b:ms:c)%",
                        "%REQ()%",
                        "%ENVIRONMENT%",
                        "%REQ(X):9999999999999999999999%",
                        "100% sure",
                        "%REQ(A):3x%",
                        "%DYNAMIC_METADATA()%",
                        "%BYTES_RECEIVED(a)%",
                        "%BYTES_SENT:3%",
                        "%START_TIME:4%",
                        "%UPSTREAM_METADATA(a:b)%",
                        "%CLUSTER_METADATA(a:b)%",
                        "%REQ_WITHOUT_QUERY(A)%"}) {
    CAPTURE(f);
    CHECK(refusal(f) != "");
  }
  CHECK(refusal("abc %FOO%").find("%FOO% at position 4") == 0);
  CHECK(refusal("abc %START_TIME").find("at position 4 is not a command") != std::string::npos);
  CHECK(refusal("%BYTES_SENT()%") == "");
  CHECK(refusal("%REQ(a)%%REQ(A?B):0%%START_TIME()%") == "");
}

TEST_CASE("every operator for TLS gives what Envoy gave") {
  ext::StreamInfo info = recorded_stream();
  auto tls = std::make_shared<test::FakeTlsInfo>();
  info.downstream_tls = tls;
  CHECK(text("%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_TLS_CIPHER%|%DOWNSTREAM_TLS_SESSION_ID%|%DOWNSTREAM_PEER_"
             "SUBJECT%|"
             "%DOWNSTREAM_LOCAL_SUBJECT%|%DOWNSTREAM_PEER_ISSUER%|%DOWNSTREAM_PEER_SERIAL%|"
             "%DOWNSTREAM_PEER_FINGERPRINT_256%|%DOWNSTREAM_PEER_FINGERPRINT_1%",
             info) ==
        "TLSv1.3|TLS_AES_256_GCM_SHA384|-|O=Acme\\, Inc\\\\x,CN=client|O=Acme\\, "
        "\\\"Inc\\\",CN=server|CN=Test CA|"
        "4ba18b89d1ece455|db832620c10066dc|b662c8d3388821a0");
  CHECK(text("%DOWNSTREAM_PEER_URI_SAN%|%DOWNSTREAM_PEER_DNS_SAN%|%DOWNSTREAM_PEER_IP_SAN%|%DOWNSTREAM_PEER_"
             "EMAIL_SAN%|"
             "%DOWNSTREAM_LOCAL_URI_SAN%|%DOWNSTREAM_LOCAL_DNS_SAN%|%DOWNSTREAM_LOCAL_IP_SAN%|%DOWNSTREAM_"
             "LOCAL_EMAIL_SAN%",
             info) ==
        "spiffe://a/c1,spiffe://a/c2|c.local,d,e;f=g.local|10.0.0.1|a@b.c|spiffe://a/s1,spiffe://a/"
        "s2|localhost|-|-");
  CHECK(text("%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256%|%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1%|%DOWNSTREAM_"
             "PEER_CHAIN_SERIALS%",
             info) == "db832620c10066dc,f6473313|b662c8d3388821a0,e3a01fee|4ba18b89d1ece455,1221e39c");
  CHECK(
      text("%DOWNSTREAM_PEER_CERT%|%DOWNSTREAM_PEER_CERT_V_START%|%DOWNSTREAM_PEER_CERT_V_END(%s)%", info) ==
      "-----BEGIN%20CERTIFICATE-----%0AMII%2B%2Fw%3D%0A-----END%20CERTIFICATE-----%0A|2026-11-22T13:00:37."
      "000Z|1797080437");
  // Of one side alone; the other was plain.
  CHECK(text("%UPSTREAM_TLS_VERSION%|%UPSTREAM_PEER_SUBJECT%|%UPSTREAM_SERVER_NAME%", info) == "-|-|-");
  info.upstream_tls = tls;
  CHECK(text("%UPSTREAM_TLS_VERSION%|%UPSTREAM_PEER_ISSUER%|%UPSTREAM_LOCAL_URI_SAN%|%UPSTREAM_SERVER_NAME%",
             info) == "TLSv1.3|CN=Test CA|spiffe://a/s1,spiffe://a/s2|up.local");
}

TEST_CASE("a client without a certificate has nothing to say of it, and we have") {
  ext::StreamInfo info = recorded_stream();
  auto tls = std::make_shared<test::FakeTlsInfo>();
  tls->mutual = false;
  tls->chain_pem.clear(), tls->chain_sha256.clear();
  info.downstream_tls = tls;
  CHECK(text("%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_CERT%|%DOWNSTREAM_PEER_CERT_V_START%|"
             "%DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256%|%DOWNSTREAM_LOCAL_DNS_SAN%",
             info) == "-|-|-|-|localhost");
}

TEST_CASE("why a handshake failed: one word") {
  ext::StreamInfo info = recorded_stream();
  info.downstream_transport_failure_reason = "TLS_error:|1:SSL routines:f:NO CERT:TLS_error_end";
  CHECK(text("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", info) ==
        "TLS_error:|1:SSL_routines:f:NO_CERT:TLS_error_end");
}
