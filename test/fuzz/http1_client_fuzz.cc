#include "http1_harness.h"

namespace sluice::http::fuzz {
namespace {

HeaderMapPtr request(uint8_t kind) {
  HeaderMapPtr h = make_headers();
  constexpr std::string_view kMethods[] = {"GET", "HEAD", "CONNECT", "GET"};
  h->add(Name::method, kMethods[kind & 3]);
  h->add(Name::authority, "a:1");
  if ((kind & 3) != 2) h->add(Name::path, "/");
  if ((kind & 3) == 3) {
    h->add(Name::connection, "upgrade");
    h->add(Name::upgrade, "websocket");
  }
  return h;
}

std::string run(Setting& setting, uint8_t kind, bool close, std::string_view bytes, uint64_t seed) {
  ClientSide client(setting);
  client.stream = &client.connection->new_stream(client.taken);
  client.stream->send_headers(*request(kind), (kind & 3) < 2);
  in_parts(bytes, seed, [&](std::string_view part) { client.give(part); });
  if (close)
    if (auto e = client.connection->receive_end()) client.error += std::string(e->details) + e->message;
  return client.text();
}

// One response in, one response out.
void check_forwarding(Setting& setting, uint8_t kind, std::string_view bytes) {
  ClientSide first(setting);
  first.stream = &first.connection->new_stream(first.taken);
  first.stream->send_headers(*request(kind), true);
  first.give(bytes);
  if (!first.taken.ended) first.connection->receive_end();
  if (!first.taken.ended || first.taken.over) return;
  Setting plain;
  plain.config.http1.enable_trailers = setting.config.http1.enable_trailers;
  ServerSide server(plain);
  const bool head = (kind & 3) == 1;
  server.give(head ? "HEAD / HTTP/1.1\r\nHost: a\r\n" : "GET / HTTP/1.1\r\nHost: a\r\n");
  Stream* stream = server.streams.at(0)->stream;
  server.streams[0]->stream = nullptr;  // not answered by itself
  server.give("\r\n");
  forward(server.wire.pool, *stream, first.taken);
  ClientSide second(setting);
  second.stream = &second.connection->new_stream(second.taken);
  second.stream->send_headers(*request(head ? 1 : 0), true);
  second.give(server.wire.sent);
  if (!second.taken.ended) second.connection->receive_end();
  FUZZ_CHECK(second.taken.ended && second.error.empty());
  FUZZ_CHECK(second.taken.body == first.taken.body);
  FUZZ_CHECK(second.taken.headers->get(Name::status) == first.taken.headers->get(Name::status));
}

}  // namespace
}  // namespace sluice::http::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http::fuzz;
  if (size < 2) return 0;
  const uint8_t flags = data[0];
  const uint64_t seed = data[1] + 1;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Setting setting;
  setting.config.common.max_headers_bytes = flags & 4 ? 300 : 60 * 1024;
  setting.config.common.max_headers_count = flags & 4 ? 6 : 100;
  setting.config.http1.enable_trailers = flags & 8;
  setting.config.http1.allow_chunked_length = flags & 16;
  const std::string whole = run(setting, flags, flags & 32, bytes, 0);
  FUZZ_CHECK(run(setting, flags, flags & 32, bytes, seed) == whole);
  if ((flags & 3) < 2) check_forwarding(setting, flags, bytes);
  return 0;
}
