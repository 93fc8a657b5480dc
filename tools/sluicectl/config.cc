#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "command.h"
#include "config_view.h"
#include "control_client.h"
#include "output.h"

namespace sluice::ctl {
namespace {

void options(cxxopts::Options& o) {
  o.add_options()("k,kind", "only listener, cluster, route, scope, filter, secret or endpoints",
                  cxxopts::value<std::string>(), "KIND")("endpoints", "those of clusters, too");
}

Status check_kind(const std::string& kind) {
  for (const char* known : {"listener", "cluster", "route", "scope", "filter", "secret", "endpoints"})
    if (kind == known) return {};
  return usage_error(kConfig,
                     "\"" + kind +
                         "\" is no kind of configuration; these are: listener, cluster, route, scope, "
                         "filter, secret, endpoints");
}

Result<Json> live_dump(const Context& context, bool endpoints) {
  return ask_sluiced(context.control_socket, "GET", endpoints ? "/config_dump?include_eds" : "/config_dump");
}

Result<std::vector<ConfigResource>> read_dump(const Context& context, const std::string& path) {
  if (path == "live") {
    SLUICE_ASSIGN(Json dump, live_dump(context, true));
    return config_resources(dump);
  }
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return Error{path + ": cannot be read"};
  auto dump = Json::parse(text.str());
  if (!dump.ok()) return std::move(dump).error().prefixed(path);
  auto out = config_resources(*dump);
  if (!out.ok()) return std::move(out).error().prefixed(path);
  return out;
}

std::string shortened(const std::string& text) {
  constexpr size_t kMost = 60;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

Result<int> diff(const Context& context, const std::vector<std::string>& words) {
  if (words.size() < 2 || words.size() > 3)
    return usage_error(kConfig, "diff needs one or two dumps: a file each, or \"live\"");
  SLUICE_ASSIGN(auto before, read_dump(context, words[1]));
  SLUICE_ASSIGN(auto after, read_dump(context, words.size() == 3 ? words[2] : "live"));
  const auto changes = config_diff(before, after);
  if (context.json) {
    Json out = Json::array();
    for (const ConfigChange& c : changes) {
      Json fields = Json::array();
      for (const auto& f : c.fields)
        fields.push(Json::object().set("path", f.path).set("before", f.before).set("after", f.after));
      out.push(
          Json::object().set("kind", c.kind).set("name", c.name).set("what", c.what).set("fields", fields));
    }
    print_json(out);
    return 0;
  }
  if (changes.empty()) std::printf("Nothing differs.\n");
  for (const ConfigChange& c : changes) {
    std::printf("%s %s %s\n", c.what.c_str(), c.kind.c_str(), c.name.c_str());
    for (const auto& f : c.fields)
      std::printf("  %s: %s -> %s\n", f.path.c_str(), or_dash(shortened(f.before)).c_str(),
                  or_dash(shortened(f.after)).c_str());
  }
  return 0;
}

Result<int> show(const Context& context, const std::vector<std::string>& words) {
  if (words.size() != 3) return usage_error(kConfig, "show needs a kind and a name");
  SLUICE_TRY(check_kind(words[1]));
  SLUICE_ASSIGN(auto all, read_dump(context, "live"));
  Json out = Json::array();
  for (const ConfigResource& r : all)
    if (r.kind == words[1] && r.name == words[2])
      out.push(Json::object().set("state", r.state).set("version", r.version).set("resource", r.content));
  if (out.items().empty())
    return Error{"there is no " + words[1] + " \"" + words[2] + "\"; `sluicectl config` lists what there is"};
  print_json(out);
  return 0;
}

// What waits still wait for goes into their rows. What has not come yet, and so is in no dump, gets a row.
Status add_waits(const Context& context, std::vector<ConfigResource>& all) {
  SLUICE_ASSIGN(Json answer, ask_sluiced(context.control_socket, "GET", "/config_waits"));
  for (const Json& w : answer.items()) {
    ConfigResource row{w["kind"].as_string(), w["name"].as_string(), "warming", "", "", "", {}};
    for (const Json& what : w["waits_for"].items())
      row.reason += (row.reason.empty() ? "waits for " : ", ") + what.as_string();
    auto same =
        std::ranges::find_if(all, [&](const ConfigResource& r) {  // of the bootstrap's there is one row
          return r.kind == row.kind && r.name == row.name && (r.state == "warming" || r.state == "static");
        });
    if (same != all.end())
      same->reason = row.reason;
    else
      all.push_back(std::move(row));
  }
  return {};
}

Result<int> list(const Context& context, const cxxopts::ParseResult& args) {
  const std::string kind = args.count("kind") ? args["kind"].as<std::string>() : "";
  if (args.count("kind")) SLUICE_TRY(check_kind(kind));
  SLUICE_ASSIGN(Json dump, live_dump(context, args.count("endpoints") > 0 || kind == "endpoints"));
  SLUICE_ASSIGN(auto all, config_resources(dump));
  SLUICE_TRY(add_waits(context, all));
  Json out = Json::array();
  Table table({"KIND", "NAME", "STATE", "VERSION", "UPDATED", "NOTE"});
  for (const ConfigResource& r : all) {
    if (!kind.empty() && r.kind != kind) continue;
    out.push(Json::object()
                 .set("kind", r.kind)
                 .set("name", r.name)
                 .set("state", r.state)
                 .set("version", r.version)
                 .set("updated", r.updated)
                 .set("note", r.reason));
    table.row({r.kind, or_dash(r.name), r.state, or_dash(r.version), or_dash(r.updated), or_dash(r.reason)});
  }
  if (context.json)
    print_json(out);
  else if (table.empty())
    std::printf("sluiced has no configuration%s.\n", kind.empty() ? "" : " of this kind");
  else
    table.print();
  return 0;
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  auto words =
      args.count("arguments") ? args["arguments"].as<std::vector<std::string>>() : std::vector<std::string>{};
  if (words.empty()) return list(context, args);
  if (words[0] == "diff") return diff(context, words);
  if (words[0] == "show") return show(context, words);
  if (words[0] == "dump" && words.size() == 1) {
    SLUICE_ASSIGN(Json dump, live_dump(context, true));
    print_json(dump);
    return 0;
  }
  return usage_error(kConfig, "\"" + words[0] + "\" is none of diff, show and dump");
}

}  // namespace

const Command kConfig = {
    "config",
    "[diff BEFORE [AFTER] | show KIND NAME | dump]",
    "what configuration is in force, what warms and why, what was refused and why",
    "Asked of sluiced. STATE: static (of the bootstrap; with a NOTE, it warms), active, warming (it waits "
    "for what "
    "NOTE\nsays), draining, refused (the last update of it was, and NOTE says why; what is active stays).\n"
    "dump prints all of it; diff compares two such dumps, or one with what is in force now (live).\n\n"
    "Example:\n  sluicectl config --kind listener\n  sluicectl config dump > before.json\n"
    "  sluicectl config diff before.json\n  sluicectl config show cluster backend",
    options,
    run};

}  // namespace sluice::ctl
