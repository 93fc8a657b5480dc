#include "server/admin/server.h"

namespace sluice::admin {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

void Router::add(Entry entry, Handler handler) {
  add_async(std::move(entry), [handler = std::move(handler)](const Request& request, Reply reply) {
    reply.send(handler(request));
  });
}

void Router::add_async(Entry entry, AsyncHandler handler) {
  entry.handler = std::move(handler);
  std::string path = entry.path;
  entries_[std::move(path)] = std::move(entry);
}

void Router::dispatch(const Request& request, Reply reply) const {
  auto it = entries_.find(request.path);
  // "/a/b/c", then "/a/b/*", "/a/*".
  for (size_t slash = request.path.rfind('/');
       it == entries_.end() && slash != std::string::npos && slash > 0;
       slash = request.path.rfind('/', slash - 1)) {
    it = entries_.find(request.path.substr(0, slash) + "/*");
  }
  if (it == entries_.end()) return reply.send(Response::text(404, "invalid path. " + help()));
  const Entry& entry = it->second;
  if (entry.mutates && (request.method == "GET" || request.method == "HEAD")) {
    return reply.send(Response::text(405, "Method " + request.method + " not allowed, POST required."));
  }
  entry.handler(request, std::move(reply));
}

std::string Router::help() const {
  std::string out = "admin commands are:\n";
  for (const auto& [path, e] : entries_) {
    if (e.help.empty()) continue;
    out += "  " + path + (e.mutates ? " (POST): " : ": ") + e.help + "\n";
    for (const Param& p : e.params) out += "      " + p.name + ": " + p.help + "\n";
  }
  return out;
}

std::string Router::index_html() const {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>Sluice admin</title>\n<meta charset=\"UTF-8\">\n"
      "<style>body{font-family:sans-serif}td,th{text-align:left;padding:.2em "
      "1em}form{display:inline}</style>\n"
      "</head>\n<body>\n<table>\n<thead><tr><th>Command</th><th>Description</th></tr></thead>\n<tbody>\n";
  for (const auto& [path, e] : entries_) {
    if (e.help.empty() || path == "/") continue;
    std::string where = escaped(std::string_view(path).substr(1));
    out += "<tr><td>";
    out += e.mutates ? "<form action=\"" + where + "\" method=\"post\"><button>" + where + "</button></form>"
                     : "<a href=\"" + where + "\">" + where + "</a>";
    out += "</td><td>" + escaped(e.help) + "</td></tr>\n";
  }
  return out + "</tbody>\n</table>\n</body>\n</html>\n";
}

}  // namespace sluice::admin
