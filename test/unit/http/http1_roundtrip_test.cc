#include "http1_support.h"

// Random messages through a client codec, a wire that splits them at random, and a server codec; and back.
namespace sluice::http {
namespace {

struct Message {
  HeaderMapPtr headers;
  std::vector<std::string> parts;  // empty: the head alone
  HeaderMapPtr trailers;

  std::string body() const {
    std::string s;
    for (auto& p : parts) s += p;
    return s;
  }
};

std::string random_text(Random& r, size_t max, std::string_view alphabet) {
  std::string s(r.below(max + 1), ' ');
  for (char& c : s) c = alphabet[r.below(alphabet.size())];
  return s;
}

void add_fields(Random& r, HeaderMap& h) {
  for (size_t n = r.below(12); n > 0; --n) {
    std::string name =
        "x" + random_text(r, r.chance(1, 20) ? 400 : 20, "abcdefghijklmnopqrstuvwxyz0123456789-.~!");
    // Inside of a value blanks stay; at its ends they do not.
    std::string value = random_text(r, r.chance(1, 20) ? 6000 : 60, "abcXYZ019 \t,;=\"/\xe4\xff");
    h.add(name, "v" + value + "v");
  }
}

Message random_message(Random& r, HeaderMapPtr headers, bool body_allowed) {
  Message m{std::move(headers), {}, nullptr};
  add_fields(r, *m.headers);
  if (body_allowed && r.chance(2, 3)) {
    for (size_t n = r.below(4) + 1; n > 0; --n)
      m.parts.push_back(random_text(r, r.chance(1, 10) ? 40000 : 100, "0123456789abcdef\r\n"));
    if (r.chance(1, 2)) {
      m.headers->set_integer(Name::content_length, m.body().size());
    } else if (r.chance(1, 3)) {
      m.trailers = make_headers();
      m.trailers->add("x-trailer", "t");
      add_fields(r, *m.trailers);
    }
  }
  return m;
}

void send(Random& r, BlockPool& pool, Stream& s, const Message& m) {
  const bool head_alone = m.parts.empty();
  s.send_headers(*m.headers, head_alone);
  if (head_alone) return;
  const bool end_apart = !m.trailers && r.chance(1, 2);
  for (size_t i = 0; i < m.parts.size(); ++i)
    s.send_data(buffer_of(pool, m.parts[i]), i + 1 == m.parts.size() && !m.trailers && !end_apart);
  if (m.trailers) s.send_trailers(*m.trailers);
  if (end_apart) s.send_data(Buffer(), true);
}

template <typename Bench>
void deliver(Random& r, std::string& wire, Bench& to) {
  std::string bytes = std::exchange(wire, "");
  for (size_t i = 0; i < bytes.size();) {
    size_t n = std::min<size_t>(bytes.size() - i, 1 + r.below(r.chance(1, 4) ? 10 : 20000));
    to.feed(std::string_view(bytes).substr(i, n));
    i += n;
  }
}

std::string without(const HeaderMap& h, std::initializer_list<std::string_view> names) {
  HeaderMapPtr copy = copy_headers(h);
  for (std::string_view n : names) copy->remove(n);
  return describe(*copy);
}

void compare(const Message& sent, const Recorder& got) {
  CHECK(got.ended);
  CHECK(got.body == sent.body());
  CHECK(without(*got.headers, {":scheme"}) == without(*sent.headers, {":scheme"}));
  if (sent.trailers) CHECK(got.log.ends_with("trailers" + describe(*sent.trailers) + "\nend\n"));
}

TEST_CASE("what one codec writes the other reads") {
  const uint64_t seed = random_seed();
  CAPTURE(seed);
  Random r(seed);
  for (int connection = 0; connection < 30; ++connection) {
    ServerBench server;
    ClientBench client;
    server.config.http1.enable_trailers = client.config.http1.enable_trailers = true;
    client.config.http1.key_format = server.config.http1.key_format =
        r.chance(1, 2) ? Http1Options::KeyFormat::lower : Http1Options::KeyFormat::proper_case;
    Message answer;
    server.setup = [&](Recorder& recorder, Stream& stream) {
      recorder.end_hook = [&] { send(r, server.pool, stream, answer); };
    };
    server.start();
    client.start();
    for (int exchange = 0; exchange < 10; ++exchange) {
      REQUIRE(client.connection->can_open_stream());
      client.recorder = Recorder();
      constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"};
      std::string_view method = kMethods[r.below(std::size(kMethods))];
      HeaderMapPtr request = make({{":method", method},
                                   {":path", "/" + random_text(r, 50, "abc?/%=&;[]{}")},
                                   {":authority", "h.example:80"},
                                   {":scheme", "http"}});
      constexpr std::string_view kStatus[] = {"200", "404", "503", "204", "304"};
      std::string_view status = kStatus[r.below(std::size(kStatus))];
      bool body = method != "HEAD" && status != "204" && status != "304";
      Message question = random_message(r, std::move(request), true);
      answer = random_message(r, make({{":status", status}}), body);
      // Written by the codec where there is no body to measure.
      if (question.parts.empty() && (method == "POST" || method == "PUT" || method == "OPTIONS"))
        question.headers->add(Name::content_length, "0");
      if (answer.parts.empty() && body) answer.headers->add(Name::content_length, "0");
      client.stream = &client.connection->new_stream(client.recorder);
      send(r, client.pool, *client.stream, question);
      deliver(r, client.output.sent, server);
      compare(question, server.last());
      deliver(r, server.output.sent, client);
      compare(answer, client.recorder);
      REQUIRE(server.pool.outstanding() == 0);
      REQUIRE(client.pool.outstanding() == 0);
    }
  }
}

}  // namespace
}  // namespace sluice::http
