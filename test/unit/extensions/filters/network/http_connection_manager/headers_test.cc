#include "extensions/filters/network/http_connection_manager/headers.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "extensions/filters/network/http_connection_manager/client_address.h"
#include "extensions/filters/network/http_connection_manager/client_certificate.h"
#include "test/unit/extensions/fake_tls_info.h"

using namespace sluice;
using namespace sluice::extensions::http_connection_manager;
using http::HeaderMap;
using http::Name;

namespace {

using Fields = std::initializer_list<std::pair<const char*, const char*>>;

void fill(HeaderMap& h, Fields fields) {
  for (auto [name, value] : fields) h.add(std::string_view(name), std::string_view(value));
}

struct Request {
  explicit Request(Fields fields, const char* peer = "1.2.3.4:5555") : remote(*Address::parse(peer)) {
    settings.ip_detection.push_back({});
    fill(headers, {{":method", "GET"}, {":path", "/"}, {":authority", "a"}});
    fill(headers, fields);
  }
  RequestVerdict run() {
    Random random(1);
    return mutate_request(settings, {remote, local, tls, client_certificate}, random, nullptr, headers);
  }
  std::string operator[](const char* name) {
    const HeaderMap::Field* f = headers.find(name);
    return f ? std::string(f->value) : "-";
  }
  Settings settings;
  HeaderMap headers;
  Address remote, local = *Address::parse("10.0.0.9:8080");
  bool tls = false;
  std::string client_certificate;
};

}  // namespace

TEST_CASE("Fields of one hop do not pass") {
  Request r({{"connection", "keep-alive, foo"},
             {"upgrade", "h2c"},
             {"keep-alive", "5"},
             {"proxy-connection", "x"},
             {"transfer-encoding", "chunked"},
             {"te", "gzip, trailers;q=0.5"},
             {"x-envoy-internal", "true"}});
  r.run();
  for (const char* name :
       {"connection", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding", "x-envoy-internal"})
    CHECK(r[name] == "-");
  CHECK(r["te"] == "trailers");
  Request other({{"te", "gzip"}});
  other.run();
  CHECK(other["te"] == "-");
}

TEST_CASE("An upgrade keeps its fields and gets a length") {
  Request r({{"connection", "keep-alive, Upgrade"}, {"upgrade", "websocket"}});
  r.run();
  CHECK(r["upgrade"] == "websocket");
  CHECK(r["connection"] == "keep-alive, Upgrade");
  CHECK(r["content-length"] == "0");
}

TEST_CASE("use_remote_address: the edge") {
  Request r({{"x-forwarded-for", "9.9.9.9"},
             {"x-forwarded-proto", "https"},
             {"x-envoy-retry-on", "5xx"},
             {"x-envoy-downstream-service-cluster", "me"},
             {"x-envoy-decorator-operation", "op"},
             {"x-request-id", "mine"}});
  r.settings.use_remote_address = true;
  RequestVerdict v = r.run();
  CHECK_FALSE(v.remote.valid());  // the peer itself
  CHECK(r["x-forwarded-for"] == "9.9.9.9,1.2.3.4");
  CHECK(r["x-forwarded-proto"] == "http");
  CHECK(r[":scheme"] == "http");
  CHECK(r["x-envoy-external-address"] == "1.2.3.4");
  for (const char* name : {"x-envoy-retry-on", "x-envoy-downstream-service-cluster",
                           "x-envoy-decorator-operation", "x-envoy-internal"})
    CHECK(r[name] == "-");
  CHECK(r["x-request-id"].size() == 36);
}

TEST_CASE("use_remote_address: trusted hops") {
  Request r({{"x-forwarded-for", "9.9.9.9, 8.8.8.8"}, {"x-forwarded-proto", "https"}});
  r.settings.use_remote_address = true;
  r.settings.xff_num_trusted_hops = 1;
  RequestVerdict v = r.run();
  CHECK(v.remote.ip().to_string() == "8.8.8.8");
  CHECK(r["x-forwarded-for"] == "9.9.9.9, 8.8.8.8,1.2.3.4");
  CHECK(r["x-forwarded-proto"] == "https");
  CHECK(r[":scheme"] == "https");
  CHECK(r["x-envoy-external-address"] == "8.8.8.8");
}

TEST_CASE("use_remote_address: a peer on this host; skip_xff_append; the port") {
  Request r({}, "127.0.0.1:1");
  r.settings.use_remote_address = true;
  r.settings.own_address = "192.0.2.2";
  r.settings.append_x_forwarded_port = true;
  r.run();
  CHECK(r["x-forwarded-for"] == "192.0.2.2");
  CHECK(r["x-forwarded-port"] == "8080");
  Request skip({});
  skip.settings.use_remote_address = skip.settings.skip_xff_append = true;
  skip.run();
  CHECK(skip["x-forwarded-for"] == "-");
}

TEST_CASE("Internal requests") {
  Request r({{"x-envoy-retry-on", "5xx"}, {"x-request-id", "mine"}}, "10.1.2.3:1");
  r.settings.use_remote_address = true;
  r.settings.internal_cidrs = {*Cidr::parse("10.0.0.0/8")};
  r.run();
  CHECK(r["x-envoy-internal"] == "true");
  CHECK(r["x-envoy-retry-on"] == "5xx");
  CHECK(r["x-envoy-external-address"] == "-");
  CHECK(r["x-request-id"] == "mine");

  Request forwarded({{"x-forwarded-for", "10.1.1.1"}});
  forwarded.settings.internal_cidrs = {*Cidr::parse("10.0.0.0/8")};
  RequestVerdict v = forwarded.run();
  CHECK(forwarded["x-envoy-internal"] == "true");
  CHECK(v.remote.ip().to_string() == "10.1.1.1");
  Request two({{"x-forwarded-for", "10.1.1.1,10.1.1.2"}});
  two.settings.internal_cidrs = {*Cidr::parse("10.0.0.0/8")};
  two.run();
  CHECK(two["x-envoy-internal"] == "-");
}

TEST_CASE("Without use_remote_address nothing is appended, and a request id is kept") {
  Request r(
      {{"x-forwarded-for", "5.6.7.8"}, {"x-request-id", "mine"}, {"x-envoy-decorator-operation", "op"}});
  RequestVerdict v = r.run();
  CHECK(v.remote.ip().to_string() == "5.6.7.8");
  CHECK(r["x-forwarded-for"] == "5.6.7.8");
  CHECK(r["x-request-id"] == "mine");
  CHECK(r["x-envoy-decorator-operation"] == "op");
  Request none({});
  CHECK_FALSE(none.run().remote.valid());
  CHECK(none["x-request-id"].size() == 36);
  CHECK(none["x-forwarded-proto"] == "http");
  Request off({});
  off.settings.generate_request_id = false;
  off.run();
  CHECK(off["x-request-id"] == "-");
}

TEST_CASE("preserve_external_request_id keeps the id but not its say on tracing") {
  Request r({{"x-request-id", "11111111-1111-9111-8111-111111111111"}});
  r.settings.use_remote_address = r.settings.preserve_external_request_id = true;
  r.run();
  CHECK(r["x-request-id"] == "11111111-1111-4111-8111-111111111111");
}

TEST_CASE("Original IP detection") {
  Request r({{"x-client", "7.7.7.7"}});
  IpDetection d;
  d.kind = IpDetection::Kind::custom_header;
  d.header = "x-client";
  d.reject_status = 403;
  r.settings.ip_detection = {d};
  CHECK(r.run().remote.ip().to_string() == "7.7.7.7");
  CHECK(r["x-forwarded-for"] == "1.2.3.4");
  Request bad({{"x-client", "nonsense"}});
  bad.settings.ip_detection = {d};
  CHECK(bad.run().reject_status == 403);

  IpDetection cidrs;
  cidrs.trusted_cidrs = {*Cidr::parse("1.2.3.0/24"), *Cidr::parse("10.0.0.0/8")};
  Request trusted({{"x-forwarded-for", "6.6.6.6, 5.5.5.5, 10.0.0.1"}});
  trusted.settings.ip_detection = {cidrs};
  CHECK(trusted.run().remote.ip().to_string() == "5.5.5.5");
  Request stranger({{"x-forwarded-for", "6.6.6.6"}}, "2.2.2.2:1");
  stranger.settings.ip_detection = {cidrs};
  CHECK_FALSE(stranger.run().remote.valid());
}

TEST_CASE("x-forwarded-for: what is no address") {
  HeaderMap h;
  fill(h, {{"x-forwarded-for", "1.1.1.1"}, {"x-forwarded-for", "bad"}});
  CHECK_FALSE(last_forwarded_address(h, 0).address);
  CHECK(last_forwarded_address(h, 1).address->to_string() == "1.1.1.1");
  CHECK_FALSE(last_forwarded_address(h, 2).address);
}

TEST_CASE("x-forwarded-client-cert: what goes on of what came, by the setting") {
  struct Row {
    ClientCert how;
    const char* with;  // a certificate
    const char* without;
  };
  for (const Row& row : {Row{ClientCert::sanitize, "-", "-"}, Row{ClientCert::forward_only, "By=old", "-"},
                         Row{ClientCert::append_forward, "By=old,By=me;Hash=1", "-"},
                         Row{ClientCert::sanitize_set, "By=me;Hash=1", "-"},
                         Row{ClientCert::always_forward_only, "By=old", "By=old"}}) {
    Request r({{"x-forwarded-client-cert", "By=old"}});
    r.settings.client_cert = row.how;
    r.client_certificate = "By=me;Hash=1";
    r.run();
    CHECK(r["x-forwarded-client-cert"] == row.with);
    Request none({{"x-forwarded-client-cert", "By=old"}});
    none.settings.client_cert = row.how;
    none.tls = true;
    none.run();
    CHECK(none["x-forwarded-client-cert"] == row.without);
  }
}

TEST_CASE("x-forwarded-client-cert: as Envoy writes it") {
  test::FakeTlsInfo tls;
  const std::string pem = "-----BEGIN%20CERTIFICATE-----%0AMII%2B%2Fw%3D%0A-----END%20CERTIFICATE-----%0A";
  const std::string ca = "-----BEGIN%20CERTIFICATE-----%0ACA%0A-----END%20CERTIFICATE-----%0A";
  CHECK(describe_client(tls, {}) == "By=spiffe://a/s1;By=spiffe://a/s2;Hash=db832620c10066dc");
  CHECK(describe_client(tls, {.subject = true, .cert = true, .chain = true, .dns = true, .uri = true}) ==
        "By=spiffe://a/s1;By=spiffe://a/s2;Hash=db832620c10066dc;Cert=\"" + pem + "\";Chain=\"" + pem + ca +
            "\";Subject=\"O=Acme\\, "
            "Inc\\\\x,CN=client\";URI=spiffe://a/c1;URI=spiffe://a/c2;DNS=c.local;DNS=d,e;f=g.local");
  // The subject and the URI are there even where they are empty; a DNS name is not.
  tls.client.subject.clear(), tls.client.uri_sans.clear(), tls.client.dns_sans.clear(),
      tls.server.uri_sans.clear();
  CHECK(describe_client(tls, {.subject = true, .dns = true, .uri = true}) ==
        "Hash=db832620c10066dc;Subject=\"\";URI=");
  tls.mutual = false;
  CHECK(describe_client(tls, {.subject = true}).empty());
}

TEST_CASE("x-forwarded-client-cert: without TLS there is no certificate") {
  Request r({{"x-forwarded-client-cert", "By=me"}});
  r.run();
  CHECK(r["x-forwarded-client-cert"] == "-");
  Request always({{"x-forwarded-client-cert", "By=me"}});
  always.settings.client_cert = ClientCert::always_forward_only;
  always.run();
  CHECK(always["x-forwarded-client-cert"] == "By=me");
}

TEST_CASE("Scheme and via") {
  Request r({{":scheme", "HTTPS"}});
  r.settings.via = "1.1 sluice";
  r.run();
  CHECK(r[":scheme"] == "https");
  CHECK(r["via"] == "1.1 sluice");
  Request over({{":scheme", "http"}});
  over.settings.scheme_to_overwrite = "https";
  over.run();
  CHECK(over[":scheme"] == "https");
}

TEST_CASE("Responses") {
  Settings s;
  HeaderMap request, response;
  fill(request, {{"x-request-id", "7"}});
  fill(response, {{":status", "200"},
                  {"connection", "close"},
                  {"upgrade", "x"},
                  {"keep-alive", "1"},
                  {"transfer-encoding", "chunked"}});
  mutate_response(s, &request, response);
  CHECK(response.size() == 1);
  s.always_set_request_id_in_response = true;
  s.via = "sluice";
  mutate_response(s, &request, response);
  CHECK(response.get(Name::x_request_id) == "7");
  CHECK(response.get(Name::via) == "sluice");
}

TEST_CASE("Extended CONNECT in HTTP/1's shape and back") {
  HeaderMap request, response;
  fill(request, {{":method", "CONNECT"}, {":protocol", "websocket"}, {":path", "/"}});
  CHECK(upgrade_from_http2(request));
  CHECK(request.get(Name::method) == "GET");
  CHECK(is_upgrade(request));
  CHECK_FALSE(request.has(Name::protocol));
  fill(response, {{":status", "101"}, {"upgrade", "websocket"}, {"connection", "upgrade"}});
  upgrade_answer_to_http2(response);
  CHECK(response.get(Name::status) == "200");
  CHECK(response.size() == 1);
}

TEST_CASE("UUIDs are of version 4") {
  Random random(7);
  for (int i = 0; i < 100; ++i) {
    auto id = make_uuid(random);
    CHECK(id[14] == '4');
    CHECK(std::string_view("89ab").find(id[19]) != std::string_view::npos);
    for (size_t at : {8, 13, 18, 23}) CHECK(id[at] == '-');
  }
  CHECK(make_uuid(random) != make_uuid(random));
}

TEST_CASE("Local replies") {
  ext::StreamInfo info;
  ext::HttpInfo http;
  info.http = &http;
  LocalReplies plain;
  SUBCASE("text") {
    PreparedReply r = prepare(plain, {.status = 404, .body = "no"}, {}, info);
    CHECK(r.headers->get(Name::status) == "404");
    CHECK(r.headers->get(Name::content_type) == "text/plain");
    CHECK(r.headers->get(Name::content_length) == "2");
    CHECK(r.body == "no");
  }
  SUBCASE("empty") {
    PreparedReply r = prepare(plain, {.status = 404}, {}, info);
    CHECK(r.headers->size() == 1);
  }
  SUBCASE("HEAD keeps the length") {
    PreparedReply r = prepare(plain, {.status = 404, .body = "no"}, {.head = true}, info);
    CHECK(r.headers->get(Name::content_length) == "2");
    CHECK(r.body.empty());
  }
  SUBCASE("gRPC") {
    PreparedReply r = prepare(plain, {.status = 503, .body = "no % \xc3\xa4"}, {.grpc = true}, info);
    CHECK(r.headers->get(Name::status) == "200");
    CHECK(r.headers->get(Name::grpc_status) == "14");
    CHECK(r.headers->get(Name::grpc_message) == "no %25 %C3%A4");
    CHECK(r.headers->get(Name::content_type) == "application/grpc");
    CHECK(r.body.empty());
    CHECK(prepare(plain, {.status = 503, .grpc_status = 4}, {.grpc = true}, info)
              .headers->get(Name::grpc_status) == "4");
  }
  SUBCASE("mappers: the first that is for the stream") {
    struct Only final : ReplyFilter {
      explicit Only(uint16_t s) : status(s) {}
      bool pass(const ext::StreamInfo& i) const override { return i.http->response_code == status; }
      uint16_t status;
    };
    struct Format final : BodyFormat {
      void format(const ext::StreamInfo& i, std::string& out) const override {
        out = "<" + std::string(i.http->local_reply_body) + ">";
      }
    };
    LocalReplies mapped;
    auto format = std::make_shared<Format>();
    format->content_type = "text/html";
    mapped.format = format;
    LocalReplies::Mapper m;
    m.filter = std::make_shared<Only>(uint16_t{500});
    m.body = "never";
    mapped.mappers.push_back(std::move(m));
    LocalReplies::Mapper n;
    n.filter = std::make_shared<Only>(uint16_t{404});
    n.status = 410;
    n.headers.add.push_back({.name = "x-why", .literal = "gone", .formatter = nullptr});
    mapped.mappers.push_back(std::move(n));
    PreparedReply r = prepare(mapped, {.status = 404, .body = "no"}, {}, info);
    CHECK(r.headers->get(Name::status) == "410");
    CHECK(r.headers->get("x-why") == "gone");
    CHECK(r.headers->get(Name::content_type) == "text/html");
    CHECK(r.body == "<no>");
    CHECK(prepare(mapped, {.status = 403, .body = "x"}, {}, info).body == "<x>");
  }
}
