"""nginx as streams need it: one process, `proxy_buffering off`, else its defaults.

usage: nginx_proxy.py PORT URL FOLDER (the model's server; for the configuration and nginx's files)
"""

import os
import sys

PORT, URL, FOLDER = sys.argv[1:]
CONFIGURATION = f"""
daemon off; master_process off; pid {FOLDER}/{PORT}.pid; error_log stderr;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {FOLDER}/body; proxy_temp_path {FOLDER}/proxy;
  fastcgi_temp_path {FOLDER}/fastcgi; uwsgi_temp_path {FOLDER}/uwsgi; scgi_temp_path {FOLDER}/scgi;
  server {{
    listen 127.0.0.1:{PORT} backlog=4096;
    location / {{ proxy_pass {URL}; proxy_http_version 1.1; proxy_buffering off; }}
  }}
}}
"""

path = f"{FOLDER}/{PORT}.conf"
with open(path, "w") as file:
    file.write(CONFIGURATION)
os.execvp("nginx", ["nginx", "-e", "stderr", "-p", FOLDER, "-c", path])
