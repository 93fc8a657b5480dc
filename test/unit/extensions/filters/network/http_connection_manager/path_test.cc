#include "extensions/filters/network/http_connection_manager/path.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace sluice::extensions::http_connection_manager;
using http::Name;

TEST_CASE("canonical_path: the table of real Envoy 1.40") {
  struct Row {
    const char *in, *out;
  };
  for (Row r : {Row{"/", "/"},
                {"/a/b", "/a/b"},
                {"/a/./b", "/a/b"},
                {"/a/../b", "/b"},
                {"/a/..", "/"},
                {"/a/b/..", "/a/"},
                {"/..", "/"},
                {"/../../a", "/a"},
                {"/a/%2e%2E/b", "/b"},
                {"/a/.b/..c", "/a/.b/..c"},
                {"/a/...", "/a/..."},
                {"\\a\\b", "/a/b"},
                {"/%41%7e%2f", "/A~%2f"},
                {"/%zz/ {a}^|[]\\b", "/%zz/%20%7Ba%7D%5E%7C[]/b"},
                {"/a//b", "/a//b"},
                {"/\xc3\xa4", "/%C3%A4"},
                {"/%", "/%"},
                {"/%4", "/%4"}}) {
    CAPTURE(r.in);
    CHECK(canonical_path(r.in).value_or("refused") == r.out);
  }
  CHECK_FALSE(canonical_path("/%00"));
}

TEST_CASE("merge_slashes, unescape_slashes") {
  CHECK(merge_slashes("//a///b/") == "/a/b/");
  CHECK(merge_slashes("/a") == "/a");
  CHECK(unescape_slashes("/a%2fb%5Cc") == "/a/b\\c");
  CHECK_FALSE(unescape_slashes("/a%2"));
}

namespace {

std::string normalized(const Settings& s, std::string_view path, PathVerdict verdict = PathVerdict::proceed) {
  http::HeaderMap h;
  h.add(Name::path, path);
  CHECK(normalize_path(s, h) == verdict);
  return std::string(h.get(Name::path));
}

std::string host(const Settings& s, std::string_view authority, uint16_t port = 80) {
  http::HeaderMap h;
  h.add(Name::authority, authority);
  normalize_host(s, h, port);
  return std::string(h.get(Name::authority));
}

}  // namespace

TEST_CASE("normalize_path: the query is left alone, fragments are refused") {
  Settings s;
  CHECK(normalized(s, "/a/../b//c") == "/a/../b//c");
  normalized(s, "/a#b", PathVerdict::reject);
  s.normalize_path = s.merge_slashes = true;
  CHECK(normalized(s, "/a/../b//c?d=//../e") == "/b/c?d=//../e");
  normalized(s, "/%00", PathVerdict::reject);
}

TEST_CASE("path_with_escaped_slashes_action") {
  Settings s;
  s.escaped_slashes = EscapedSlashes::reject;
  normalized(s, "/a%2Fb", PathVerdict::reject);
  CHECK(normalized(s, "/a?b%2Fc") == "/a?b%2Fc");
  s.escaped_slashes = EscapedSlashes::unescape_and_forward;
  CHECK(normalized(s, "/a%2Fb%5cc") == "/a/b\\c");
  s.escaped_slashes = EscapedSlashes::unescape_and_redirect;
  CHECK(normalized(s, "/a%2Fb", PathVerdict::redirect) == "/a/b");
  CHECK(normalized(s, "/a/b") == "/a/b");
}

TEST_CASE("strip_*_host_port, strip_trailing_host_dot") {
  Settings s;
  CHECK(host(s, "a.b:80") == "a.b:80");
  s.strip_port = StripPort::matching;
  CHECK(host(s, "a.b:80") == "a.b");
  CHECK(host(s, "a.b:81") == "a.b:81");
  CHECK(host(s, "[::1]:80") == "[::1]");
  CHECK(host(s, "[::1]") == "[::1]");
  s.strip_port = StripPort::any;
  CHECK(host(s, "a.b:81") == "a.b");
  CHECK(host(s, "a.b:x") == "a.b:x");
  s.strip_trailing_host_dot = true;
  CHECK(host(s, "a.b.:81") == "a.b");
  CHECK(host(s, "a.b.") == "a.b");
}

TEST_CASE("valid_authority") {
  CHECK(valid_authority("a-b.c:80"));
  CHECK(valid_authority("[::1]:80"));
  CHECK_FALSE(valid_authority("a b"));
  CHECK_FALSE(valid_authority("a/b"));
}
