#include "extensions/filters/network/http_connection_manager/filter_manager.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "sluice/ext/network_filter.h"
#include "test/sim/sim_loop.h"

using namespace sluice;
using namespace sluice::extensions::http_connection_manager;
using ext::DataStatus;
using ext::HeadersStatus;
using ext::TrailersStatus;

namespace {

// Filters write what they see into this; so does the host with what leaves.
std::string trace;
void note(const std::string& s) {
  trace += (trace.empty() ? "" : " ") + s;
}

// A filter by the test's script. Unset: goes on.
struct Script {
  std::function<HeadersStatus(ext::HttpFilterContext&)> request_headers, response_headers;
  std::function<DataStatus(ext::HttpFilterContext&, Buffer&, bool)> request_data, response_data;
  std::function<TrailersStatus(ext::HttpFilterContext&)> request_trailers, response_trailers;
};

class Scripted final : public ext::HttpFilter {
 public:
  Scripted(std::string name, const Script& script, ext::HttpFilterContext** out)
      : name_(std::move(name)), script_(script), out_(out) {}
  void init(ext::HttpFilterContext& c) override { *out_ = context_ = &c; }
  HeadersStatus on_request_headers(http::HeaderMap&, bool end) override {
    note(name_ + "h" + (end ? "." : ""));
    return script_.request_headers ? script_.request_headers(*context_) : HeadersStatus::proceed;
  }
  DataStatus on_request_data(Buffer& d, bool end) override {
    note(name_ + "(" + d.to_string() + ")" + (end ? "." : ""));
    return script_.request_data ? script_.request_data(*context_, d, end) : DataStatus::proceed;
  }
  TrailersStatus on_request_trailers(http::HeaderMap&) override {
    note(name_ + "t");
    return script_.request_trailers ? script_.request_trailers(*context_) : TrailersStatus::proceed;
  }
  HeadersStatus on_response_headers(http::HeaderMap&, bool end) override {
    note(name_ + "H" + (end ? "." : ""));
    return script_.response_headers ? script_.response_headers(*context_) : HeadersStatus::proceed;
  }
  DataStatus on_response_data(Buffer& d, bool end) override {
    note(name_ + "[" + d.to_string() + "]" + (end ? "." : ""));
    return script_.response_data ? script_.response_data(*context_, d, end) : DataStatus::proceed;
  }
  TrailersStatus on_response_trailers(http::HeaderMap&) override {
    note(name_ + "T");
    return script_.response_trailers ? script_.response_trailers(*context_) : TrailersStatus::proceed;
  }
  void on_end() override { note(name_ + "!"); }

 private:
  std::string name_;
  const Script& script_;
  ext::HttpFilterContext** out_;
  ext::HttpFilterContext* context_ = nullptr;
};

// Filters a, b and the terminal c; requests come from the test, answers are noted.
struct Chain final : FilterManager::Host, ext::NetworkFilterContext {
  Chain() : manager(*this) {
    trace.clear();
    info.http = &http;
    for (int i = 0; i < 3; ++i)
      filters.push_back({std::string(1, static_cast<char>('a' + i)),
                         [this, i] {
                           return std::make_unique<Scripted>(std::string(1, static_cast<char>('a' + i)),
                                                             scripts[i], &contexts[i]);
                         },
                         false});
  }
  ~Chain() {
    manager.end();
    manager.recycle();
  }
  void begin(uint32_t limit = 100) {
    manager.begin(limit);
    manager.set_request_headers(http::make_headers());
    manager.create(filters, nullptr);
  }
  void headers(bool end) { manager.on_request_headers(end); }
  void data(std::string_view text, bool end) {
    Buffer b;
    b.append(loop_.blocks(), text);
    manager.on_request_data(b, end);
  }
  void trailers() { manager.on_request_trailers(http::make_headers()); }
  void respond(bool end) {
    auto h = http::make_headers();
    h->set_static(http::Name::status, "200");
    contexts[2]->respond(std::move(h), end);
  }
  void respond_data(std::string_view text, bool end) {
    Buffer b;
    b.append(loop_.blocks(), text);
    contexts[2]->respond_data(b, end);
  }

  // FilterManager::Host
  ext::StreamInfo& stream_info() override { return info; }
  ext::NetworkFilterContext& network() override { return *this; }
  const model::RouteMatch* route() override { return nullptr; }
  void clear_route_cache() override {}
  void send_informational(http::HeaderMap&) override { note("->1xx"); }
  void send_headers(http::HeaderMap& h, bool end) override {
    note("->" + std::string(h.get(http::Name::status)) + (end ? "." : ""));
    if (end) manager.stop();
  }
  void send_data(Buffer&& d, bool end) override {
    note("->[" + d.to_string() + "]" + (end ? "." : ""));
    d.clear();
    if (end) manager.stop();
  }
  void send_trailers(http::HeaderMap&) override {
    note("->T");
    manager.stop();
  }
  http::HeaderMapPtr make_reply(const ext::LocalReply& r, std::string& body) override {
    auto h = http::make_headers();
    h->set_integer(http::Name::status, r.status);
    body = r.body;
    return h;
  }
  void pause_request() override { note("pause"); }
  void resume_request() override { note("resume"); }
  bool above_write_watermark() const override { return false; }
  void reset_stream(http::ResetReason, std::string_view details) override {
    note("reset:" + std::string(details));
    manager.stop();
  }
  bool restart(Buffer&& body) override {
    note("restart");
    body.clear();
    return true;
  }
  void on_request_too_large() override {}
  void on_response_too_large() override {}
  void touch() override {}
  ext::Upstream::Origin origin() override { return {}; }
  bool access_logged() const override { return false; }

  // ext::NetworkFilterContext
  ext::Connection& connection() override { std::abort(); }
  Random& random() override { std::abort(); }
  ext::ClusterManager& clusters() override { std::abort(); }
  void continue_reading() override {}
  bool draining() const override { return false; }
  bool health_check_failed() const override { return false; }
  io::Loop& loop() override { return loop_; }

  sim::SimNet net{1};
  sim::SimLoop loop_{net};
  ext::StreamInfo info;
  ext::HttpInfo http;
  Script scripts[3];
  ext::HttpFilterContext* contexts[3] = {};
  std::vector<ChainFilter> filters;
  FilterManager manager;
};

}  // namespace

TEST_CASE("Nobody stops: the request goes down, the response up") {
  Chain c;
  c.begin();
  c.headers(false);
  c.data("x", false);
  c.data("y", true);
  c.respond(false);
  c.respond_data("z", true);
  CHECK(trace == "ah bh ch a(x) b(x) c(x) a(y). b(y). c(y). cH bH aH ->200 c[z]. b[z]. a[z]. ->[z].");
  c.manager.end();
  CHECK(trace.ends_with("a! b! c!"));
}

TEST_CASE("stop: later filters wait for the head, the body still comes; continue hands on what was kept") {
  Chain c;
  c.scripts[1].request_headers = [](auto&) { return HeadersStatus::stop; };
  c.scripts[1].request_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
  c.begin();
  c.headers(false);
  c.data("x", false);
  c.data("y", true);
  CHECK(trace == "ah bh a(x) b(x) a(y). b(y).");
  c.contexts[1]->continue_request();
  CHECK(trace == "ah bh a(x) b(x) a(y). b(y). ch c(xy).");
  c.contexts[1]->continue_request();  // once more does nothing
  CHECK(trace == "ah bh a(x) b(x) a(y). b(y). ch c(xy).");
}

TEST_CASE("stop_all: the body waits too, and is seen by the filter when it goes on") {
  Chain c;
  c.scripts[1].request_headers = [](auto&) { return HeadersStatus::stop_all; };
  c.begin();
  c.headers(false);
  c.data("x", false);
  c.data("y", false);
  c.trailers();
  CHECK(trace == "ah bh a(x) a(y) at");
  c.contexts[1]->continue_request();
  CHECK(trace == "ah bh a(x) a(y) at ch b(xy) c(xy) bt ct");
}

TEST_CASE("A head alone") {
  Chain c;
  c.scripts[0].request_headers = [](auto&) { return HeadersStatus::stop; };
  c.begin();
  c.headers(true);
  c.contexts[0]->continue_request();
  CHECK(trace == "ah. bh. ch.");
}

TEST_CASE("proceed on data lets a stopped head go first, with all that was kept") {
  Chain c;
  c.scripts[0].request_headers = [](auto&) { return HeadersStatus::stop; };
  c.scripts[0].request_data = [](auto&, Buffer&, bool end) {
    return end ? DataStatus::proceed : DataStatus::stop_and_buffer;
  };
  c.begin();
  c.headers(false);
  c.data("x", false);
  c.data("y", true);
  CHECK(trace == "ah a(x) a(y). bh ch b(xy). c(xy).");
}

TEST_CASE("continue from inside the call that stops is no stop") {
  Chain c;
  c.scripts[0].request_headers = [](ext::HttpFilterContext& x) {
    x.continue_request();
    return HeadersStatus::stop;
  };
  c.begin();
  c.headers(true);
  CHECK(trace == "ah. bh. ch.");
}

TEST_CASE("Two filters stop: each keeps its own") {
  Chain c;
  c.scripts[0].request_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
  c.scripts[1].request_headers = [](auto&) { return HeadersStatus::stop; };
  c.begin();
  c.headers(false);
  c.data("x", true);
  c.contexts[1]->continue_request();
  CHECK(trace == "ah bh a(x). ch");
  c.contexts[0]->continue_request();
  CHECK(trace == "ah bh a(x). ch b(x). c(x).");
}

TEST_CASE("stop_no_buffer: the filter has taken it") {
  Chain c;
  c.scripts[1].request_data = [](ext::HttpFilterContext& x, Buffer& d, bool end) {
    x.add_request_data(std::move(d));
    return end ? DataStatus::proceed : DataStatus::stop_no_buffer;
  };
  c.begin();
  c.headers(false);
  c.data("x", false);
  c.data("y", true);
  CHECK(trace == "ah bh ch a(x) b(x) a(y). b(y). c(xy).");
}

TEST_CASE("A body where there was none, trailers where there were none") {
  Chain c;
  c.scripts[0].request_headers = [&c](ext::HttpFilterContext& x) {
    Buffer b;
    b.append(c.loop_.blocks(), "new");
    x.add_request_data(std::move(b));
    return HeadersStatus::proceed;
  };
  c.scripts[1].request_data = [](ext::HttpFilterContext& x, Buffer&, bool end) {
    if (end) x.add_request_trailers().add("t", "1");
    return DataStatus::proceed;
  };
  c.begin();
  c.headers(true);
  CHECK(trace == "ah. bh ch b(new). c(new) ct");
}

TEST_CASE("The same on the way up") {
  Chain c;
  c.scripts[1].response_headers = [](auto&) { return HeadersStatus::stop; };
  c.scripts[1].response_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
  c.begin();
  c.headers(true);
  c.respond(false);
  c.respond_data("x", false);
  c.respond_data("y", true);
  CHECK(trace == "ah. bh. ch. cH bH c[x] b[x] c[y]. b[y].");
  c.contexts[1]->continue_response();
  CHECK(trace == "ah. bh. ch. cH bH c[x] b[x] c[y]. b[y]. aH ->200 a[xy]. ->[xy].");
}

TEST_CASE("Limits: 413, 500, a reset once the head is out, and a pause where the filter asks for that") {
  Chain c;
  SUBCASE("request") {
    c.scripts[1].request_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
    c.begin(3);
    c.headers(false);
    c.data("1234", false);
    CHECK(trace ==
          "ah bh ch a(1234) b(1234) cH bH aH ->413 c[Payload Too Large]. b[Payload Too Large]. "
          "a[Payload Too Large]. ->[Payload Too Large].");
    c.data("5", true);  // nobody is there any more
    CHECK(trace.ends_with("->[Payload Too Large]."));
  }
  SUBCASE("response, head kept") {
    c.scripts[1].response_headers = [](auto&) { return HeadersStatus::stop; };
    c.scripts[1].response_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
    c.begin(3);
    c.headers(true);
    c.respond(false);
    c.respond_data("1234", false);
    CHECK(trace == "ah. bh. ch. cH bH c[1234] b[1234] ->500 ->[Internal Server Error].");
  }
  SUBCASE("response, head sent") {
    c.scripts[1].response_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_buffer; };
    c.begin(3);
    c.headers(true);
    c.respond(false);
    c.respond_data("1234", false);
    CHECK(trace.ends_with("c[1234] b[1234] reset:response_payload_too_large"));
  }
  SUBCASE("watermark") {
    c.scripts[1].request_data = [](auto&, Buffer&, bool) { return DataStatus::stop_and_watermark; };
    c.begin(3);
    c.headers(false);
    c.data("1234", false);
    c.data("5", true);
    CHECK(trace == "ah bh ch a(1234) b(1234) pause a(5). b(5).");
    c.contexts[1]->continue_request();
    CHECK(trace == "ah bh ch a(1234) b(1234) pause a(5). b(5). resume c(12345).");
  }
}

TEST_CASE("A local reply goes through every filter's response side, and ends the request's way") {
  Chain c;
  c.scripts[1].request_headers = [](ext::HttpFilterContext& x) {
    x.send_local_reply({.status = 403, .body = "no", .details = "denied"});
    CHECK(x.local_reply_sent());
    return HeadersStatus::stop;
  };
  c.begin();
  c.headers(false);
  c.data("x", true);
  CHECK(trace == "ah bh cH bH aH ->403 c[no]. b[no]. a[no]. ->[no].");
  CHECK(c.info.response_code_details == "denied");
  c.manager.end();
  CHECK(trace.ends_with("a! b! c!"));
}

TEST_CASE("A local reply in place of a response under way: filters that saw that one do not see this") {
  Chain c;
  c.scripts[0].response_headers = [](ext::HttpFilterContext& x) {
    x.send_local_reply({.status = 502, .details = "bad"});
    return HeadersStatus::proceed;
  };
  c.begin();
  c.headers(true);
  c.respond(false);
  c.respond_data("x", true);  // of the old response
  CHECK(trace == "ah. bh. ch. cH bH aH ->502.");
}

TEST_CASE("A local reply behind a head that was sent is a reset") {
  Chain c;
  c.begin();
  c.headers(true);
  c.respond(false);
  c.contexts[0]->send_local_reply({.status = 500, .details = "late"});
  CHECK(trace.ends_with("->200 reset:late"));
  c.respond_data("x", true);
  CHECK(trace.ends_with("reset:late"));
}

TEST_CASE("restart needs a whole request and no response") {
  Chain c;
  c.begin();
  c.headers(false);
  CHECK_FALSE(c.contexts[2]->restart({}));
  c.data("x", true);
  CHECK(c.contexts[2]->restart({}));
  c.respond(false);
  CHECK_FALSE(c.contexts[2]->restart({}));
}

TEST_CASE("A filter that is disabled is not there") {
  Chain c;
  c.filters[1].disabled = true;
  c.begin();
  c.headers(true);
  CHECK(trace == "ah. ch.");
}
