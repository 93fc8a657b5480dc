#include "extensions/common/tracing.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>

#include "model/route.h"
#include "model/tracing.h"

using namespace sluice;
using model::CustomTag;
using Kind = CustomTag::Kind;

namespace {

struct Stream {
  ext::StreamInfo info;
  ext::HttpInfo http;
  http::HeaderMap request;
  Stream() {
    info.http = &http;
    http.request_headers = &request;
  }
};

// Keeps what it is told.
struct Kept final : ext::Span {
  void set_operation(std::string_view value) override { operation = value; }
  void set_tag(std::string_view name, std::string_view value) override {
    if (!value.empty()) tags[std::string(name)] = value;
  }
  void log(WallTime, std::string_view event) override { events += std::string(event) + ' '; }
  void set_sampled(bool value) override { is_sampled = value; }
  bool sampled() const override { return is_sampled; }
  bool decides_itself() const override { return true; }
  void inject(http::HeaderMap&) const override {}
  std::unique_ptr<ext::Span> child(std::string_view) override { return nullptr; }
  void finish() override { ++finished; }
  std::string trace_id() const override { return {}; }
  std::map<std::string, std::string> tags;
  std::string events, operation = "as it was";
  bool is_sampled = true;
  int finished = 0;
};

}  // namespace

TEST_CASE("custom tags: values of dynamic metadata, as Envoy writes them") {
  Stream s;
  CustomTag tag{.kind = Kind::request_metadata, .tag = "t", .name = "f", .path = {"k"}, .text = "default"};
  CHECK(tag.value(s.info) == "default");
  s.info.dynamic_metadata = std::make_shared<ext::Metadata>();
  auto& fields = (*s.info.dynamic_metadata)["f"];
  CHECK(tag.value(s.info) == "default");
  for (const auto& [json, text] : {std::pair<const char*, const char*>{R"("a\"b")", "a\"b"},
                                   {"true", "true"},
                                   {"1.5", "1.5"},
                                   {"7", "7"},
                                   {"1234567", "1.23457e+06"},
                                   {"null", "default"},
                                   {R"(["x",1])", R"(["x",1])"}}) {
    CAPTURE(json);
    fields["k"] = json;
    CHECK(tag.value(s.info) == text);
  }
  fields["k"] = R"({"a":{"b":"deep"}})";
  tag.path = {"k", "a", "b"};
  CHECK(tag.value(s.info) == "deep");
  tag.path = {"k", "a", "no"};
  CHECK(tag.value(s.info) == "default");
  tag.path = {"k", "a", "b", "c"};
  CHECK(tag.value(s.info) == "default");
  fields["k:a"] = "1";
  tag.path = {"k:a"};
  CHECK(tag.value(s.info) == "1");
}

TEST_CASE("custom tags: headers") {
  Stream s;
  CustomTag tag{.kind = Kind::request_header, .tag = "t", .name = "x-foo", .text = "default"};
  CHECK(tag.value(s.info) == "default");
  s.request.add("x-foo", "");
  CHECK(tag.value(s.info) == "");
  s.request.set("x-foo", "bar");
  CHECK(tag.value(s.info) == "bar");
  s.http.request_headers = nullptr;
  CHECK(tag.value(s.info) == "default");
}

TEST_CASE("spans: a route's tags go before the connection manager's, and both before the usual ones") {
  Stream s;
  s.request.add(http::Name::method, "GET");
  s.request.add(http::Name::path, "/0123456789");
  s.request.add(http::Name::authority, "a");
  s.request.add(http::Name::x_forwarded_proto, "http");
  model::TracingRules rules;
  rules.max_path_bytes = 4;
  rules.tags = {{.tag = "http.method", .text = "mine"}, {.tag = "b", .text = "manager"}};
  auto tracing = std::make_shared<model::RouteTracing>();
  tracing->tags = {{.tag = "b", .text = "route"}};
  model::Route route;
  route.tracing = tracing;
  s.http.route = &route;
  s.http.response_code = 503;
  Kept span;
  extensions::finish_request_span(span, rules, s.info);
  CHECK(span.finished == 1);
  CHECK(span.tags["http.url"] == "http://a/012");
  CHECK(span.tags["http.method"] == "mine");
  CHECK(span.tags["b"] == "route");
  CHECK(span.tags["error"] == "true");
  CHECK(span.tags["response_flags"] == "-");
  CHECK_FALSE(span.tags.contains("upstream_cluster"));
  CHECK(span.events.empty());
}

TEST_CASE("spans: a route's operations go before the connection manager's, these before other names") {
  struct Text final : model::HeaderFormatter {
    explicit Text(const char* t) : text(t) {}
    void format(const ext::StreamInfo&, std::string& out) const override { out += text; }
    const char* text;
  };
  Stream s;
  model::TracingRules rules;
  auto finished = [&] {
    Kept request, one_try;
    extensions::finish_request_span(request, rules, s.info);
    extensions::finish_try_span(one_try, rules, s.info, {});
    return request.operation + ", " + one_try.operation;
  };
  CHECK(finished() == "as it was, as it was");
  rules.operation = std::make_shared<Text>("manager");
  rules.upstream_operation = std::make_shared<Text>("manager's try");
  CHECK(finished() == "manager, manager's try");
  auto tracing = std::make_shared<model::RouteTracing>();
  model::Route route;
  route.tracing = tracing;
  s.http.route = &route;
  CHECK(finished() == "manager, manager's try");
  tracing->operation = std::make_shared<Text>("route");
  CHECK(finished() == "route, manager's try");
  tracing->operation = nullptr;
  tracing->upstream_operation = std::make_shared<Text>("route's try");
  CHECK(finished() == "manager, route's try");
}

TEST_CASE("spans: what nobody will see costs nothing") {
  Stream s;
  Kept span;
  span.is_sampled = false;
  extensions::finish_request_span(span, {}, s.info);
  extensions::finish_try_span(span, {}, s.info, {});
  CHECK(span.finished == 2);
  CHECK(span.tags.empty());
}

TEST_CASE("spans: gRPC statuses that are the server's fault") {
  for (int status = 0; status <= 17; ++status) {
    CAPTURE(status);
    http::HeaderMap trailers;
    trailers.add(http::Name::grpc_status, std::to_string(status));
    Kept span;
    extensions::tag_grpc_status(span, trailers);
    const bool fault = status == 2 || status == 4 || status == 8 || (status >= 12 && status <= 15);
    CHECK(span.tags.contains("error") == fault);
    CHECK(span.tags["grpc.status_code"] == std::to_string(status));
  }
}
