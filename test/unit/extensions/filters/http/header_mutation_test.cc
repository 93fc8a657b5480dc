#include "extensions/filters/http/header_mutation/header_mutation.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

// The expectations are what real Envoy 1.40 sent.
using namespace sluice;
using namespace sluice::extensions::header_mutation;
using sluice::extensions::Mutation, sluice::extensions::Remove, sluice::extensions::RemoveOnMatch;
using Append = model::HeaderRules::Append;
using test::Headers;

namespace {

Mutation add(std::string name, std::string value, Append how = Append::append_if_exists_or_add,
             bool keep = false) {
  model::HeaderRules::Add a;
  a.name = std::move(name);
  a.literal = std::move(value);
  a.append = how;
  a.keep_empty = keep;
  return a;
}

RemoveOnMatch remove_prefix(const std::string& prefix) {
  RemoveOnMatch r{test::exactly(prefix)};
  r.name.kind = model::StringMatcher::Kind::prefix;
  return r;
}

QueryMutation set(std::string name, std::string value, Append how = Append::append_if_exists_or_add) {
  QueryMutation m;
  m.name = std::move(name);
  m.literal = std::move(value);
  m.action = how;
  return m;
}
QueryMutation unset(std::string name) {
  QueryMutation m;
  m.name = std::move(name);
  m.remove = true;
  return m;
}

struct UpperPath final : model::HeaderFormatter {
  void format(const ext::StreamInfo& info, std::string& out) const override {
    out += "path " + std::string(info.http->request_headers->get(http::Name::path));
  }
};

std::string path_after(std::vector<QueryMutation> query, const std::string& path) {
  auto m = std::make_shared<Mutations>();
  m->query = std::move(query);
  test::FakeWorker w(make_factory(m, false));
  test::FakeStream s(w);
  s.request({{":path", path}});
  return std::string(s.request_headers_map.get(http::Name::path));
}

}  // namespace

TEST_CASE("header_mutation: the actions, in order") {
  auto m = std::make_shared<Mutations>();
  model::HeaderRules::Add formatted;
  formatted.name = "x-p";
  formatted.formatter = std::make_shared<UpperPath>();
  m->request = {add("x-a", "1"),
                add("x-o", "new", Append::overwrite_if_exists_or_add),
                add("x-n", "new", Append::overwrite_if_exists),
                add("x-there", "no", Append::add_if_absent),
                add("x-absent", "yes", Append::add_if_absent),
                add("x-empty", ""),
                add("x-kept", "", Append::append_if_exists_or_add, true),
                formatted,
                Remove{"x-del"},
                remove_prefix("x-rm"),
                add("user-agent", "b")};
  test::FakeWorker w(make_factory(m, false));
  test::FakeStream s(w);
  s.request({{":path", "/q"},
             {"x-a", "0"},
             {"x-o", "1"},
             {"x-o", "2"},
             {"x-there", "t"},
             {"x-del", "d"},
             {"x-rm1", "r"},
             {"x-rm2", "r"},
             {"user-agent", "a"}});
  CHECK(test::list(s.request_headers_map) == Headers{{":path", "/q"},
                                                     {"x-a", "0"},
                                                     {"x-o", "new"},
                                                     {"x-there", "t"},
                                                     {"user-agent", "a,b"},
                                                     {"x-a", "1"},
                                                     {"x-absent", "yes"},
                                                     {"x-kept", ""},
                                                     {"x-p", "path /q"}});
}

TEST_CASE("header_mutation: responses and trailers") {
  auto m = std::make_shared<Mutations>();
  m->response = {Remove{"x-up"}, add("x-r", "1")};
  m->request_trailers = {add("x-qt", "1")};
  m->response_trailers = {Remove{"x-t"}};
  test::FakeWorker w(make_factory(m, false));
  test::FakeStream s(w);
  s.request({{":path", "/"}});
  s.response({{":status", "200"}, {"x-up", "yes"}});
  CHECK(test::list(s.response_headers_map) == Headers{{":status", "200"}, {"x-r", "1"}});
  http::HeaderMap request, response;
  s.filter->on_request_trailers(request);
  CHECK(test::list(request) == Headers{{"x-qt", "1"}});
  response.add("x-t", "tv");
  s.filter->on_response_trailers(response);
  CHECK(response.empty());
}

TEST_CASE("header_mutation: the order of levels") {
  auto level = [](const std::string& name) {
    auto m = std::make_shared<Mutations>();
    m->request = {add("x-l", name, Append::overwrite_if_exists_or_add), add("x-o", name)};
    return m;
  };
  for (bool most_specific_wins : {false, true}) {
    test::FakeWorker w(make_factory(level("own"), most_specific_wins));
    test::FakeStream s(w);
    s.route_configs = {level("vh"), level("route")};
    s.request({{":path", "/"}});
    CHECK(s.request_headers_map.get("x-l") == (most_specific_wins ? "route" : "vh"));
    std::string scratch;
    CHECK(s.request_headers_map.joined("x-o", scratch) ==
          (most_specific_wins ? "own,vh,route" : "own,route,vh"));
  }
}

TEST_CASE("header_mutation: the query") {
  std::vector<QueryMutation> all = {set("new", "a b&u%/"), set("a", "2", Append::add_if_absent),
                                    set("b", "z", Append::overwrite_if_exists),
                                    set("c", "z", Append::overwrite_if_exists), unset("d")};
  CHECK(path_after(all, "/p?a=1&b=%41+&b=3&d=4") == "/p?a=1&b=z&new=a%20b%26u%25%2F");
  CHECK(path_after(all, "/p") == "/p?a=2&new=a%20b%26u%25%2F");
  CHECK(path_after({unset("a")}, "/p?a=1") == "/p");
  CHECK(path_after({set("a", "9", Append::overwrite_if_exists_or_add)}, "/p?b=1&a=1&a=2") == "/p?a=9&b=1");
  CHECK(path_after({}, "/p?b=%41&a") == "/p?b=%41&a");
}
