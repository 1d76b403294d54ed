/// The chat page as one file: markup and style here, the script in `WebChatDocument+Script.swift`.
enum WebChatDocument {
    static let html = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
        <meta name="color-scheme" content="light dark">
        <title>Penstock</title>
        <link rel="icon" href="data:image/svg+xml,\(icon)">
        <style>\(style)</style>
        </head>
        <body>
        <header>
        <h1>Penstock</h1>
        <p id="status" role="status"><span id="dot"></span><span id="state">connecting</span></p>
        </header>
        <main id="scroll" tabindex="-1">
        <ol id="log" role="log" aria-live="polite" aria-label="Conversation"></ol>
        <section id="empty" hidden>
        <h2>Talk to the agent</h2>
        <p>It keeps this conversation, also when you reload the page.</p>
        <ul id="hints">
        <li><button type="button">/help</button></li>
        <li><button type="button">/skills</button></li>
        <li><button type="button">Hello!</button></li>
        </ul>
        </section>
        </main>
        <form id="form" autocomplete="off">
        <label for="text" class="hidden">Message</label>
        <textarea id="text" rows="1" maxlength="8000" placeholder="Message" enterkeyhint="send" autofocus></textarea>
        <button id="send" type="submit" aria-label="Send" disabled>
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 20V5M5.5 11.5 12 5l6.5 6.5"/></svg>
        </button>
        </form>
        <noscript><p class="noscript">This page needs JavaScript to talk to the agent.</p></noscript>
        <script>\(script)</script>
        </body>
        </html>

        """

    private static let icon =
        "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%230a7d78' "
        + "d='M8 1C6 4 3 7 3 10a5 5 0 0 0 10 0c0-3-3-6-5-9z'/%3E%3C/svg%3E"

    static let style = """

        :root { --back:#f6f7f8; --card:#fff; --ink:#1b2124; --soft:#5d686e; --line:#dfe4e6;
          --mine:#0a6e6a; --mine-ink:#fff; --accent:#0a7d78; --code:#eef1f2; --bad:#b3261e; }
        @media (prefers-color-scheme: dark) {
          :root { --back:#14181a; --card:#1e2427; --ink:#e7ecee; --soft:#9ba7ad; --line:#30383c;
            --mine:#12716d; --mine-ink:#fff; --accent:#4cc2bb; --code:#283034; --bad:#ff8a80; } }
        * { box-sizing:border-box; }
        html, body { height:100%; margin:0; }
        body { display:flex; flex-direction:column; height:100dvh; background:var(--back); color:var(--ink);
          font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
        header { display:flex; align-items:center; justify-content:space-between; gap:1rem;
          padding:.6rem max(1rem, calc(50% - 23rem)); border-bottom:1px solid var(--line); background:var(--card); }
        h1 { font-size:1.05rem; margin:0; letter-spacing:.01em; }
        #status { margin:0; font-size:.85rem; color:var(--soft); display:flex; align-items:center; gap:.45rem; }
        #dot { width:.55rem; height:.55rem; border-radius:50%; background:#c9a227; }
        #dot.on { background:#2e9e5b; }
        #dot.off { background:var(--bad); }
        main { flex:1; overflow-y:auto; padding:1rem max(1rem, calc(50% - 23rem)); outline:none;
          overscroll-behavior:contain; }
        ol#log { list-style:none; margin:0; padding:0; display:flex; flex-direction:column; gap:.65rem; }
        li.m { max-width:min(88%, 40rem); padding:.55rem .85rem; border-radius:1rem; overflow-wrap:anywhere;
          background:var(--card); border:1px solid var(--line); align-self:flex-start;
          border-bottom-left-radius:.3rem; }
        li.user { background:var(--mine); color:var(--mine-ink); border-color:transparent; align-self:flex-end;
          border-radius:1rem; border-bottom-right-radius:.3rem; white-space:pre-wrap; }
        li.live { border-style:dashed; }
        li.m time { display:block; font-size:.72rem; opacity:.7; margin-top:.2rem; }
        li.failed { outline:2px solid var(--bad); }
        li.m p, li.m ul, li.m ol, li.m pre, li.m h3, li.m blockquote { margin:0 0 .5rem; }
        li.m > div > :last-child { margin-bottom:0; }
        li.m h3 { font-size:1rem; }
        li.m ul, li.m ol { padding-left:1.3rem; }
        li.m blockquote { border-left:3px solid var(--line); padding-left:.7rem; color:var(--soft); }
        li.m a { color:var(--accent); }
        code { font:.9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background:var(--code);
          padding:.08em .3em; border-radius:.3em; }
        pre { background:var(--code); padding:.6rem .75rem; border-radius:.5rem; overflow-x:auto; }
        pre code { background:none; padding:0; }
        .retry { font:inherit; font-size:.85rem; margin-top:.4rem; color:inherit; background:none; cursor:pointer;
          border:1px solid currentColor; border-radius:.5rem; padding:.15rem .6rem; }
        ul.skills, li.m ul.skills { display:flex; flex-wrap:wrap; gap:.4rem; margin:0 0 .35rem; padding:0; list-style:none; }
        .skills li { font-size:.8rem; padding:.1rem .6rem; border-radius:1rem; border:1px solid var(--line);
          color:var(--soft); }
        .skills li.running { color:var(--accent); border-color:currentColor; }
        .skills li.failed { color:var(--bad); border-color:currentColor; }
        .dots::after { content:"●●●"; letter-spacing:.2em; font-size:.6rem; color:var(--soft);
          animation:pulse 1.4s infinite; }
        @keyframes pulse { 50% { opacity:.25; } }
        @media (prefers-reduced-motion: reduce) { .dots::after { animation:none; } }
        #empty { max-width:30rem; margin:12vh auto 0; text-align:center; color:var(--soft); }
        #empty h2 { color:var(--ink); margin:0 0 .3rem; }
        #hints { list-style:none; padding:0; display:flex; gap:.5rem; justify-content:center; flex-wrap:wrap; }
        #hints button { font:inherit; color:var(--accent); background:var(--card); cursor:pointer;
          border:1px solid var(--line); border-radius:1rem; padding:.3rem .9rem; }
        form { display:flex; gap:.5rem; align-items:flex-end; background:var(--card);
          border-top:1px solid var(--line); padding:.65rem max(1rem, calc(50% - 23rem));
          padding-bottom:max(.65rem, env(safe-area-inset-bottom)); }
        textarea { flex:1; resize:none; max-height:9rem; font:inherit; color:inherit; background:var(--back);
          border:1px solid var(--line); border-radius:1.2rem; padding:.5rem .95rem; }
        #send { flex:none; width:2.6rem; height:2.6rem; border:0; border-radius:50%; cursor:pointer;
          background:var(--mine); }
        #send:disabled { opacity:.4; cursor:default; }
        #send svg { width:1.3rem; height:1.3rem; fill:none; stroke:#fff; stroke-width:2.4; stroke-linecap:round;
          stroke-linejoin:round; vertical-align:middle; }
        :focus-visible { outline:2px solid var(--accent); outline-offset:2px; }
        .hidden { position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%); }
        .noscript { padding:1rem; text-align:center; }

        """
}
