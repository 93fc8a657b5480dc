#include <cstdio>
#include <ctime>
#include <map>

#include "command.h"
#include "control_client.h"
#include "output.h"
#include "redirect/json.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

std::string families(bool wanted, bool v4, bool v6) {
  if (!wanted) return "off";
  if (v4 && v6) return "v4+v6";
  return v4 ? "v4" : v6 ? "v6" : "NO PROXY";
}

std::string rules(const redirect::WorkloadSpec& s) {
  std::string out;
  auto add = [&out](const char* what, size_t n) {
    if (n) out += (out.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  };
  add("ports excluded", s.exclude_outbound_ports.size() + s.exclude_inbound_ports.size());
  add("ports included", s.include_outbound_ports.size() + s.include_inbound_ports.size());
  add("CIDRs excluded", s.exclude_cidrs.size());
  add("CIDRs included", s.include_cidrs.size());
  add("uids excluded", s.exclude_uids.size());
  add("probe sources", s.probe_sources.size());
  return out;
}

// What sluiced says of identities, by netns cookie; nothing while it does not run.
std::map<int64_t, Json> identities(const Context& context) {
  std::map<int64_t, Json> out;
  auto answer = ask_sluiced(context.control_socket, "GET", "/workloads");
  if (!answer.ok() || !answer->is_array()) return out;
  for (const Json& w : answer->items())
    if (w["identity_state"].is_object()) out.emplace(w["netns_cookie"].as_int(), w["identity_state"]);
  return out;
}

std::string certificate(const Json& state) {
  if (!state["usable"].as_bool()) return "NONE";
  // check-allow: for people; sluicectl has no loop
  const int64_t left = state["expires"].as_int() - std::time(nullptr);
  if (left <= 0) return "expired";
  return "for " + (left >= 2 * 86400 ? std::to_string(left / 86400) + "d"
                   : left >= 7200    ? std::to_string(left / 3600) + "h"
                                     : std::to_string(left / 60) + "min");
}

Result<int> run(const Context& context, const cxxopts::ParseResult&) {
  SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
  SLUICE_ASSIGN(auto workloads, redirector->workloads());
  const auto who = identities(context);
  if (context.json) {
    Json list = Json::array();
    for (const auto& w : workloads) {
      Json j = redirect::workload_to_json(w);
      if (auto it = who.find(static_cast<int64_t>(w.netns_cookie)); it != who.end())
        j.set("identity_state", it->second);
      list.push(std::move(j));
    }
    print_json(list);
    return 0;
  }
  if (workloads.empty()) {
    std::printf("No workload is enrolled; `sluicectl enrol NAME NETNS` does it.\n");
    return 0;
  }
  Table table({"NAME", "ID", "GENERATION", "NETNS-COOKIE", "OUTBOUND", "INBOUND", "FAIL-MODE", "NETNS",
               "RULES", "IDENTITY", "CERTIFICATE"});
  for (const auto& w : workloads) {
    auto it = who.find(static_cast<int64_t>(w.netns_cookie));
    const Json* state = it == who.end() ? nullptr : &it->second;
    table.row({w.spec.name.empty() ? "(name lost)" : w.spec.name, std::to_string(w.id),
               std::to_string(w.generation), std::to_string(w.netns_cookie),
               families(w.spec.outbound, w.listening_outbound_v4, w.listening_outbound_v6),
               families(w.spec.inbound, w.listening_inbound_v4, w.listening_inbound_v6),
               to_string(w.spec.fail_mode), or_dash(w.spec.netns_path), or_dash(rules(w.spec)),
               or_dash(w.spec.identity),
               w.spec.identity.empty() ? "-"
               : state                 ? certificate(*state)
                                       : "?"});
  }
  table.print();
  for (const auto& w : workloads) {
    auto it = who.find(static_cast<int64_t>(w.netns_cookie));
    if (it != who.end() && !it->second["reason"].as_string().empty())
      std::printf("\n%s: %s: %s\n", it->second["usable"].as_bool() ? "warning" : "NOT USABLE",
                  w.spec.name.c_str(), it->second["reason"].as_string().c_str());
  }
  if (auto hooks = redirector->hooks(); hooks.ok() && !hooks->good())
    std::printf("\nwarning: hooks: %s; see `sluicectl check`\n", hooks->text.c_str());
  return 0;
}

}  // namespace

const Command kWorkloads = {
    "workloads",
    "",
    "what is enrolled, and whether the proxy serves it",
    "Read from the kernel's maps, with or without sluiced. OUTBOUND and INBOUND show the address families "
    "the proxy\n"
    "listens for in that namespace; NO PROXY means that the fail mode is in force. CERTIFICATE is for how "
    "long "
    "the workload's\n"
    "own is good; with NONE its TLS connections fail, and the reason stands below (? while sluiced does not "
    "run).\n\n"
    "Example:\n  sluicectl workloads\n  sluicectl workloads -o json | jq '.[].spec.name'",
    nullptr,
    run};

}  // namespace sluice::ctl
