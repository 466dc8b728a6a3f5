import pytest, httpx, psutil
@pytest.mark.served
def test_real(served):
    c = served.client()
    t=[{"type":"function","function":{"name":"get_weather","description":"Weather of a city","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]
    for p in served.processes():
        for conn in p.net_connections(kind="inet"):
            if conn.status=="LISTEN":
                port=conn.laddr.port
                try:
                    r=httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions",json={"messages":[{"role":"user","content":"Weather in Rome?"}],"tools":t,"tool_choice":"required","temperature":0,"max_tokens":60},timeout=30)
                    print(port,r.status_code,r.text[:600])
                    r=httpx.get(f"http://127.0.0.1:{port}/props",timeout=5); print(str(r.json().get("chat_template_caps")), r.json().get("build_info"))
                except Exception as e: print(port,repr(e)[:100])
    try:
        r = c.chat.completions.create(model="auto", messages=[{"role":"user","content":"Weather in Rome?"}], tools=t, tool_choice="required", temperature=0)
        print(r.choices[0])
    except Exception as e: print(repr(e))
    assert 0
