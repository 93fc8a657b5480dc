#include "http1_support.h"

namespace sluice::http {
namespace {

TEST_CASE("a request and its answer") {
  ServerBench s;
  s.start();
  s.feed("GET /p?q HTTP/1.1\r\nHost: a\r\nX-Some: v \r\nAccept-Encoding:gzip\r\n\r\n");
  CHECK(s.log() == "headers{:method=GET|:path=/p?q|:authority=a|x-some=v|accept-encoding=gzip}\nend\n--\n");
  CHECK(s.output.sent == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  CHECK_FALSE(s.connection->finished());
  CHECK(s.connection->active_streams() == 0);
}

}  // namespace
}  // namespace sluice::http
