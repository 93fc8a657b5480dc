#include "extensions/filters/http/buffer/buffer.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::buffer;

TEST_CASE("buffer: holds a request until it is whole and says its length") {
  test::FakeWorker w(make_factory(10));
  test::FakeStream s(w);
  CHECK(s.request({{":method", "POST"}}, false) == ext::HeadersStatus::stop);
  CHECK(s.limit == 10);
  CHECK(s.request_data("abc", false) == ext::DataStatus::stop_and_buffer);
  CHECK(s.request_data("de", true) == ext::DataStatus::proceed);
  CHECK(s.request_headers_map.get("content-length") == "5");
}

TEST_CASE("buffer: a length that is there stays; trailers end the body, too") {
  test::FakeWorker w(make_factory(10));
  test::FakeStream s(w);
  CHECK(s.request({{":method", "POST"}, {"content-length", "3"}}, false) == ext::HeadersStatus::stop);
  CHECK(s.request_data("abc", true) == ext::DataStatus::proceed);
  CHECK(s.request_headers_map.get("content-length") == "3");
  test::FakeStream t(w);
  t.request({{":method", "POST"}}, false);
  t.request_data("abcd", false);
  http::HeaderMap trailers;
  CHECK(t.filter->on_request_trailers(trailers) == ext::TrailersStatus::proceed);
  CHECK(t.request_headers_map.get("content-length") == "4");
}

TEST_CASE("buffer: no body, and routes that switch it off or set another limit") {
  test::FakeWorker w(make_factory(10));
  test::FakeStream head(w);
  CHECK(head.request({{":method", "GET"}}) == ext::HeadersStatus::proceed);
  auto off = std::make_shared<Settings>();
  off->disabled = true;
  test::FakeStream s(w);
  s.route_configs = {off};
  CHECK(s.request({{":method", "POST"}}, false) == ext::HeadersStatus::proceed);
  CHECK(s.request_data("abc", false) == ext::DataStatus::proceed);
  CHECK(s.limit == 0);
  auto more = std::make_shared<Settings>();
  more->max_request_bytes = 20;
  test::FakeStream m(w);
  m.route_configs = {off, more};
  CHECK(m.request({{":method", "POST"}}, false) == ext::HeadersStatus::stop);
  CHECK(m.limit == 20);
}
