#include "control_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/ascii.h"
#include "core/fd.h"

namespace sluice::ctl {
namespace {

constexpr int kTimeoutSeconds = 30;
constexpr size_t kReplyMax = 64u << 20;  // 100,000 connections are about 40 MB

Result<Fd> open_socket(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof(to.sun_path))
    return Error{"control socket " + path + ": the path is too long", ENAMETOOLONG};
  std::memcpy(to.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
    int err = errno;
    std::string remedy = err == EACCES || err == EPERM
                             ? " (run as the user that runs sluiced)"
                             : " (is sluiced running? --control-socket says where it listens)";
    Error e = errno_error(err, "control socket " + path);
    e.message += remedy;
    return e;
  }
  return fd;
}

Error broken(const char* what) {
  return Error{std::string("sluiced's answer on the control socket ") + what, EPROTO};
}

// The value of a header, or nothing.
std::string header(std::string_view head, std::string_view name) {
  size_t at = head.find("\r\n");
  while (at != std::string_view::npos && at + 2 < head.size()) {
    size_t end = head.find("\r\n", at + 2);
    std::string_view line = head.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
    size_t colon = line.find(':');
    if (colon == name.size()) {
      bool same = true;
      for (size_t i = 0; i < colon; ++i) same &= to_lower(line[i]) == name[i];
      if (same) {
        line.remove_prefix(colon + 1);
        while (!line.empty() && line[0] == ' ') line.remove_prefix(1);
        return std::string(line);
      }
    }
    at = end;
  }
  return "";
}

Result<std::string> dechunk(std::string_view in) {
  std::string out;
  for (;;) {
    size_t eol = in.find("\r\n");
    size_t size = 0;
    if (eol == std::string_view::npos ||
        std::from_chars(in.data(), in.data() + eol, size, 16).ec != std::errc())
      return broken("has a broken chunk");
    in.remove_prefix(eol + 2);
    if (size == 0) return out;
    if (in.size() < size + 2) return broken("ends early");
    out.append(in.substr(0, size));
    in.remove_prefix(size + 2);
  }
}

}  // namespace

Result<Reply> call_sluiced(const std::string& socket_path, const std::string& method,
                           const std::string& target, const Json* body) {
  SLUICE_ASSIGN(Fd fd, open_socket(socket_path));
  std::string text = body ? body->dump() : "";
  std::string request = method + " " + target + " HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n";
  if (body)
    request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) + "\r\n";
  request += "\r\n" + text;
  for (size_t done = 0; done < request.size();) {
    ssize_t n = ::send(fd.get(), request.data() + done, request.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno == EAGAIN ? ETIMEDOUT : errno, "sending to sluiced");
    done += static_cast<size_t>(n);
  }

  std::string raw;
  char buf[65536];
  size_t head_end = std::string::npos, want = std::string::npos;
  while (raw.size() < want) {
    ssize_t n = ::recv(fd.get(), buf, sizeof(buf), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno == EAGAIN ? ETIMEDOUT : errno, "waiting for sluiced");
    if (n == 0) break;
    raw.append(buf, static_cast<size_t>(n));
    if (raw.size() > kReplyMax) return broken("is too long");
    if (head_end != std::string::npos) continue;
    head_end = raw.find("\r\n\r\n");
    if (head_end == std::string::npos) continue;
    std::string length = header(std::string_view(raw).substr(0, head_end), "content-length");
    size_t n_body = 0;
    if (!length.empty() &&
        std::from_chars(length.data(), length.data() + length.size(), n_body).ec == std::errc())
      want = head_end + 4 + n_body;
  }
  if (head_end == std::string::npos) return broken("ends early");
  if (want != std::string::npos && raw.size() < want) return broken("ends early");
  std::string_view head = std::string_view(raw).substr(0, head_end);
  Reply reply;
  if (!head.starts_with("HTTP/1.1 ") ||
      std::from_chars(head.data() + 9, head.data() + head.size(), reply.status).ec != std::errc())
    return broken("is not HTTP/1.1");
  std::string payload = raw.substr(head_end + 4, want == std::string::npos ? want : want - head_end - 4);
  if (header(head, "transfer-encoding") == "chunked") {
    SLUICE_ASSIGN(payload, dechunk(payload));
  }
  if (payload.find_first_not_of(" \r\n\t") != std::string::npos) {
    auto json = Json::parse(payload);
    // An error page that is not JSON still says something.
    if (json.ok())
      reply.body = std::move(*json);
    else if (reply.status >= 400)
      reply.body = Json::object().set("error", payload);
    else
      return std::move(json).error().prefixed("sluiced's answer on the control socket");
  }
  return reply;
}

Result<Json> ask_sluiced(const std::string& socket_path, const std::string& method, const std::string& target,
                         const Json* body) {
  SLUICE_ASSIGN(Reply reply, call_sluiced(socket_path, method, target, body));
  if (reply.status < 400) return std::move(reply.body);
  const std::string& said = reply.body["error"].as_string();
  int code = reply.status == 404 ? ESRCH : reply.status == 409 ? EEXIST : EINVAL;
  return Error{said.empty() ? "sluiced answered with status " + std::to_string(reply.status) : said, code};
}

bool nobody_there(const Error& error) {
  return error.code == ENOENT || error.code == ECONNREFUSED;
}

std::string percent_encode(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    }
  }
  return out;
}

}  // namespace sluice::ctl
