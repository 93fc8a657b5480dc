// The table of route_cases.h, put to a real Envoy: one listener a configuration, and one that echoes what was forwarded.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "test/unit/config/envoy.h"
#include "test/unit/config/route_cases.h"

namespace sluice::config::test {
namespace {

std::string socket_of(size_t index) {
  return "@sluice-routes-" + std::to_string(::getpid()) + "-" + std::to_string(index);
}

constexpr size_t kEcho = std::size(kRouteConfigs);

// Without the delayed close a connection ends with its response, not a second later.
std::string listener(size_t index, const std::string& routes) {
  return "{name: l" + std::to_string(index) + ", address: {pipe: {path: \"" + socket_of(index) +
         "\"}}, filter_chains: [{filters: [{name: h, typed_config: {\"@type\": "
         "type.googleapis.com/"
         "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, "
         "stat_prefix: p, delayed_close_timeout: 0s, http_filters: [{name: r, typed_config: {\"@type\": "
         "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}], route_config: " +
         routes + "}}]}]}";
}

std::string bootstrap() {
  std::string out =
      "static_resources: {clusters: [{name: echo, load_assignment: {cluster_name: echo, endpoints: "
      "[{lb_endpoints: [{endpoint: {address: {pipe: {path: \"" +
      socket_of(kEcho) + "\"}}}}]}]}}], listeners: [";
  for (size_t i = 0; i < kEcho; ++i) out += listener(i, kRouteConfigs[i].yaml) + ", ";
  std::string format = "to %REQ(:AUTHORITY)% %REQ(:PATH)%";
  std::string fields = "{header: {key: r, value: up}}";
  for (const char* name : kEchoed) {
    const std::string text(name);
    fields += ", {header: {key: echo-" + text + ", value: \"%REQ(" + text + ")%\"}}";
  }
  return out +
         listener(kEcho,
                  "{virtual_hosts: [{name: e, domains: [\"*\"], response_headers_to_add: [" + fields +
                      "], routes: [{match: {prefix: \"\"}, direct_response: {status: 200, body_format: "
                      "{text_format_source: {inline_string: \"" +
                      format + "\"}}}}]}]}") +
         "]}";
}

int connect_to(const std::string& name) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0) return fd;
  ::close(fd);
  return -1;
}

std::string exchange(size_t index, const RouteCase& c) {
  std::string request = std::string(c.method) + " " + c.path + " HTTP/1.1\r\nhost: " + c.host + "\r\n";
  std::string headers = c.headers;
  for (size_t i = 0; (i = headers.find('|', i)) != std::string::npos;) headers.replace(i, 1, "\r\n");
  if (!headers.empty()) request += headers + "\r\n";
  request += "connection: close\r\n\r\n";
  const int fd = connect_to(socket_of(index));
  REQUIRE(fd >= 0);
  REQUIRE(::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  std::string response;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd, buffer, sizeof(buffer), 0)) > 0;)
    response.append(buffer, static_cast<size_t>(n));
  ::close(fd);
  return response;
}

// The response in the words of the table.
std::string words(const std::string& response, bool shows_r) {
  const size_t head_end = response.find("\r\n\r\n");
  if (head_end == std::string::npos) return "no response: " + response;
  const std::string head = response.substr(0, head_end + 2), status = head.substr(9, 3);
  std::string body = response.substr(head_end + 4), echoed, r, location;
  for (size_t i = head.find("\r\n") + 2; i < head.size();) {
    const size_t end = head.find("\r\n", i), colon = head.find(':', i);
    const std::string name = head.substr(i, colon - i);
    std::string value = head.substr(colon + 1, end - colon - 1);
    value.erase(
        0, value.find_first_not_of(' ') == std::string::npos ? value.size() : value.find_first_not_of(' '));
    i = end + 2;
    if (name == "r") r += (r.empty() ? " r=" : "|") + value;
    if (name == "location") location = value;
    if (name.starts_with("echo-")) echoed += " " + name.substr(5) + "=" + value;
  }
  const bool forwarded = body.starts_with("to ");
  std::string out = forwarded ? body + echoed : status;
  if (!location.empty()) out += " -> " + location;
  if (!forwarded && !body.empty() && status == "200") out += " " + body;
  return forwarded && !shows_r ? out : out + r;
}

void put_to(const std::string& program, const std::vector<std::string>& arguments) {
  const std::string base = "/tmp/sluice-routes-" + std::to_string(::getpid());
  const std::string config = base + ".yaml", log = base + ".log";
  std::ofstream(config, std::ios::trunc) << bootstrap() << "\n";
  std::vector<std::string> all = {"-c", config};
  all.insert(all.end(), arguments.begin(), arguments.end());
  Envoy process(program, all, log);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  int fd = -1;
  while ((fd = connect_to(socket_of(kEcho))) < 0 && process.running() &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  REQUIRE_MESSAGE(fd >= 0, read_file(log));
  ::close(fd);
  for (const RouteCase& c : kRouteCases) {
    size_t index = 0;
    while (index < kEcho && std::strcmp(kRouteConfigs[index].name, c.config) != 0) ++index;
    REQUIRE_MESSAGE(index < kEcho, c.config);
    const std::string name = c.config;
    const std::string got = words(exchange(index, c), name.starts_with("rules") || name == "actions");
    CHECK_MESSAGE(got == std::string(c.expected), describe(c));
  }
  std::remove(config.c_str());
  std::remove(log.c_str());
}

TEST_CASE("a real Envoy routes every request as the table says") {
  const std::string envoy = find_envoy();
  if (!envoy.empty()) put_to(envoy, {"-l", "error", "--concurrency", "1", "--disable-hot-restart"});
}

// The whole of it, not the routes alone: stands beside this program.
TEST_CASE("so does sluiced") {
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof(self));
  REQUIRE(length > 0);
  const std::string path(self, static_cast<size_t>(length));
  put_to(path.substr(0, path.rfind('/')) + "/sluiced", {"-l", "error", "--concurrency", "1"});
}

}  // namespace
}  // namespace sluice::config::test
