#include "http/grpc.h"

#include <doctest/doctest.h>

using namespace sluice::http;

TEST_CASE("content types of gRPC") {
  CHECK(is_grpc_content_type("application/grpc"));
  CHECK(is_grpc_content_type("application/grpc+proto"));
  CHECK_FALSE(is_grpc_content_type("application/grpc-web"));
  CHECK_FALSE(is_grpc_content_type("application/grpcx"));
  CHECK_FALSE(is_grpc_content_type("text/plain"));
  CHECK_FALSE(is_grpc_content_type(""));
}

TEST_CASE("which heads are gRPC's") {
  HeaderMap request;
  request.add(Name::content_type, "application/grpc");
  CHECK_FALSE(is_grpc_request(request));
  request.add(Name::path, "/s/m");
  CHECK(is_grpc_request(request));
  HeaderMap response;
  response.add(Name::status, "200");
  response.add(Name::content_type, "application/grpc");
  CHECK(is_grpc_response(response, false));
  CHECK_FALSE(is_grpc_response(response, true));
  response.add(Name::grpc_status, "0");
  CHECK(is_grpc_response(response, true));
  response.set(Name::status, "503");
  CHECK_FALSE(is_grpc_response(response, false));
}

TEST_CASE("the status: trailers, head, HTTP") {
  HeaderMap head, trailers;
  CHECK(grpc_status(nullptr, nullptr, 0, true) == std::nullopt);
  CHECK(grpc_status(&trailers, &head, 200, true) == 2);
  CHECK(grpc_status(nullptr, nullptr, 404, true) == 12);
  head.add(Name::grpc_status, "7");
  CHECK(grpc_status(&trailers, &head, 200, true) == 7);
  trailers.add(Name::grpc_status, "0");
  CHECK(grpc_status(&trailers, &head, 200, true) == 0);
  CHECK(parse_grpc_status("17", true) == 17);
  CHECK(parse_grpc_status("17", false) == kGrpcInvalidStatus);
  CHECK(parse_grpc_status("x", true) == kGrpcInvalidStatus);
  CHECK(parse_grpc_status("1x", true) == kGrpcInvalidStatus);
  CHECK(parse_grpc_status("-1", true) == kGrpcInvalidStatus);
}

TEST_CASE("names and HTTP statuses") {
  CHECK(grpc_status_camel_name(1) == "Canceled");
  CHECK(grpc_status_snake_name(1) == "CANCELLED");
  CHECK(grpc_status_camel_name(16) == "Unauthenticated");
  CHECK(grpc_status_camel_name(17) == "");
  CHECK(grpc_status_camel_name(-1) == "");
  CHECK(http_status_of_grpc(14) == 503);
  CHECK(http_status_of_grpc(99) == 500);
  CHECK(grpc_status_of_http(503) == 14);
  CHECK(grpc_status_of_http(418) == 2);
}

TEST_CASE("the path of a call") {
  auto m = parse_grpc_path("/pkg.Service/Method?x=1");
  REQUIRE(m);
  CHECK(m->service == "pkg.Service");
  CHECK(m->method == "Method");
  for (auto bad : {"", "/", "/a", "/a/", "//b", "/a/b/c", "a/b"}) CHECK_FALSE(parse_grpc_path(bad));
}
