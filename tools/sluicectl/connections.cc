#include <cstdio>

#include "command.h"
#include "control_client.h"
#include "output.h"

namespace sluice::ctl {
namespace {

void options(cxxopts::Options& o) {
  o.add_options()("w,workload", "only this one's", cxxopts::value<std::string>(), "NAME");
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  auto answer = ask_sluiced(context.control_socket, "GET", "/connections");
  if (!answer.ok()) {
    Error e = std::move(answer).error();
    if (nobody_there(e)) e.message += "\n`sluicectl redirects` shows what the kernel knows without it.";
    return e;
  }
  std::string only = args.count("workload") ? args["workload"].as<std::string>() : "";
  Json list = Json::array();
  Table table({"ID", "WORKLOAD", "DOWNSTREAM", "ORIGINAL-DESTINATION", "LISTENER", "CHAIN", "CLUSTER",
               "UPSTREAM", "RECEIVED", "SENT", "AGE"});
  auto leg = [](const Json& j) {
    if (!j.is_object()) return std::string("-");
    return or_dash(j["remote"].as_string()) + " > " + or_dash(j["local"].as_string());
  };
  for (const Json& c : answer->items()) {
    if (!only.empty() && c["workload"].as_string() != only) continue;
    const Json& up = c["upstream"];
    table.row(
        {std::to_string(c["id"].as_int()), or_dash(c["workload"].as_string()), leg(c["downstream"]),
         or_dash(c["original_destination"].as_string()), or_dash(c["listener"].as_string()),
         or_dash(c["filter_chain"].as_string()), or_dash(c["cluster"].as_string()),
         up.is_object() ? or_dash(up["local"].as_string()) + " > " + or_dash(up["remote"].as_string()) : "-",
         human_bytes(c["bytes_received"].as_int()), human_bytes(c["bytes_sent"].as_int()),
         human_age_ms(c["age_ms"].as_int())});
    list.push(c);
  }
  if (context.json)
    print_json(list);
  else if (table.empty())
    std::printf("No connection is open.\n");
  else
    table.print();
  return 0;
}

}  // namespace

const Command kConnections = {"connections",
                              "",
                              "live connections of the proxy, both legs joined",
                              "Asked of sluiced. DOWNSTREAM is the caller and the address it reached, "
                              "UPSTREAM the proxy's own address and the one\n"
                              "it called; RECEIVED and SENT are the caller's bytes.\n\n"
                              "Example:\n  sluicectl connections -w shop/cart\n  sluicectl connections -o "
                              "json | jq '.[] | select(.age_ms > 60000)'",
                              options,
                              run};

}  // namespace sluice::ctl
