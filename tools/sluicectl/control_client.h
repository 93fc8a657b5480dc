#pragma once

#include <string>

#include "core/json.h"

// sluiced's control socket: HTTP/1.1 over a Unix stream socket (default /run/sluice/control.sock), one request a
// connection, bodies in JSON. Whoever may open the socket (mode 0600) may enrol.
//
//   POST   /workloads          body: a workload spec (redirect/json.h). Enrols, or changes the rules of the workload of
//                              that name. Answer 200: the workload in force (workload_to_json).
//   DELETE /workloads/NAME     NAME percent-encoded ('/' is %2F), or a netns cookie. Answer 200: {}.
//   GET    /workloads          200: [workload, ...]
//   GET    /connections        200: [{"id": 7, "workload": "ns/pod",
//                                     "downstream": {"local": "127.0.0.1:15001", "remote": "127.0.0.1:40312"},
//                                     "original_destination": "192.0.2.1:80", "listener": "virtualOutbound",
//                                     "filter_chain": "", "cluster": "PassthroughCluster",
//                                     "upstream": {"local": "10.0.0.5:40314", "remote": "192.0.2.1:80"},
//                                     "bytes_received": 512, "bytes_sent": 4096, "age_ms": 1200}, ...]
//                              A member that is not known (yet) is null or missing. Byte counts are the downstream
//                              side's, as Envoy's BYTES_RECEIVED and BYTES_SENT.
//
// Errors: status 400 (bad body), 404 (no such workload), 409 (conflict) or 500, with {"error": "what and what to do"}.
namespace sluice::ctl {

// What came back, whatever its status. Error code ENOENT or ECONNREFUSED: no sluiced there.
struct Reply {
  int status = 0;
  Json body;
};
Result<Reply> call_sluiced(const std::string& socket_path, const std::string& method,
                           const std::string& target, const Json* body = nullptr);
// As above, with an answer of 400 and more turned into its Error (404: code ESRCH, 409: EEXIST).
Result<Json> ask_sluiced(const std::string& socket_path, const std::string& method, const std::string& target,
                         const Json* body = nullptr);
// Is this error "nobody answers on the socket", as against sluiced having said no?
bool nobody_there(const Error& error);
std::string percent_encode(const std::string& text);

}  // namespace sluice::ctl
