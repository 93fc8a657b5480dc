#include "extensions/common/uri_template.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sluice;

TEST_CASE("uri_template: what a template matches") {
  struct {
    const char* text;
    std::vector<const char*> yes, no;
  } const cases[] = {
      {"/", {"/"}, {"", "/a", "//"}},
      {"/a/b", {"/a/b"}, {"/a", "/a/b/", "/A/b", "/a/bc"}},
      {"/a/", {"/a/"}, {"/a", "/a/b"}},
      {"/a/*", {"/a/b", "/a/b.c-d~%20"}, {"/a/", "/a", "/a/b/c", "/a/b*"}},
      {"/a/*/c", {"/a/b/c"}, {"/a//c", "/a/b/b/c"}},
      {"/a/**", {"/a/", "/a/b", "/a/b/c/"}, {"/a", "/b/c"}},
      {"/**", {"/", "/a", "/a/b"}, {"", "a"}},
      {"/**/c", {"/a/b/c", "//c"}, {"/a/b/cd", "/c"}},
      {"/*.txt", {"/a.txt", "/a.b.txt"}, {"/a.txtx", "/.txt", "/aXtxt"}},
      {"/{a}/c", {"/b/c"}, {"/c", "/b/b/c"}},
      {"/{a=x/*}/c", {"/x/b/c"}, {"/y/b/c", "/x/c"}},
      {"/{a=**}.json", {"/x/y.json", "/.json"}, {"/x/y"}},
      {"/a.b(c)$+", {"/a.b(c)$+"}, {"/aXb(c)$+"}},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    auto made = extensions::compile_uri_template(c.text);
    REQUIRE(made.ok());
    for (const char* path : c.yes) {
      CAPTURE(path);
      CHECK(made->full_match(path));
    }
    for (const char* path : c.no) {
      CAPTURE(path);
      CHECK_FALSE(made->full_match(path));
    }
  }
}

TEST_CASE("uri_template: what is no template") {
  for (const char* text : {"",
                           "a",
                           "*",
                           "/a b",
                           "/a*",
                           "/*a*",
                           "//",
                           "/a//b",
                           "/a=b",
                           "/{a",
                           "/a}",
                           "/{}",
                           "/{1a}",
                           "/{a-b}",
                           "/{a=}",
                           "/{a=b/}",
                           "/{a=b//c}",
                           "/{a}{b}",
                           "/{a}/{a}",
                           "/{a}/{b}/{c}/{d}/{e}/{f}",
                           "/{abcdefghijklmnopq}",
                           "/**/*",
                           "/**/**",
                           "/**/{a}",
                           "/{a=**/*}",
                           "/*.txt/a",
                           "/***"}) {
    CAPTURE(text);
    CHECK_FALSE(extensions::compile_uri_template(text).ok());
  }
}
