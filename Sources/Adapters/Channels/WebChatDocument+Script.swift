extension WebChatDocument {
    static let script =
        #"""

        'use strict';
        const $ = (id) => document.getElementById(id);
        const log = $('log'), scroll = $('scroll'), text = $('text'), send = $('send');
        const seen = new Set(), answered = new Set();
        let stream, next = '0', live, liveText = '', timer, generation = 0;

        const make = (tag, name, ...inside) => {
          const element = document.createElement(tag);
          if (name) element.className = name;
          element.append(...inside);
          return element;
        };

        // Markdown by hand and by text nodes only: nothing that is said can become markup.
        const inline = (line) => {
          const parts = [];
          const pattern = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"')\]]+)/g;
          let from = 0;
          for (const match of line.matchAll(pattern)) {
            parts.push(line.slice(from, match.index));
            from = match.index + match[0].length;
            if (match[1]) parts.push(make('code', '', match[1]));
            else if (match[2]) parts.push(make('strong', '', match[2]));
            else {
              const link = make('a', '', match[3] || match[5]);
              link.href = match[4] || match[5];
              link.rel = 'noopener noreferrer';
              link.target = '_blank';
              parts.push(link);
            }
          }
          parts.push(line.slice(from));
          return parts;
        };

        const render = (source) => {
          const root = make('div');
          const lines = source.split('\n');
          let list, paragraph;
          const close = () => { list = paragraph = undefined; };
          for (let i = 0; i < lines.length; i++) {
            const line = lines[i];
            let match;
            if (line.trim().startsWith('```')) {
              const code = [];
              while (++i < lines.length && !lines[i].trim().startsWith('```')) code.push(lines[i]);
              close();
              root.append(make('pre', '', make('code', '', code.join('\n'))));
            } else if ((match = line.match(/^#{1,6} +(.*)/))) {
              close();
              root.append(make('h3', '', ...inline(match[1])));
            } else if ((match = line.match(/^ *([-*+]|\d{1,3}[.)]) +(.*)/))) {
              const tag = /\d/.test(match[1]) ? 'ol' : 'ul';
              if (!list || list.localName !== tag) { close(); root.append(list = make(tag)); }
              if (tag === 'ol' && !list.children.length) list.start = parseInt(match[1], 10);
              list.append(make('li', '', ...inline(match[2])));
            } else if ((match = line.match(/^> ?(.*)/))) {
              close();
              root.append(make('blockquote', '', ...inline(match[1])));
            } else if (!line.trim()) {
              close();
            } else if (paragraph) {
              paragraph.append(make('br'), ...inline(line));
            } else {
              close();
              root.append(paragraph = make('p', '', ...inline(line)));
            }
          }
          return root;
        };

        const toEnd = (always) => {
          const gap = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight;
          if (always || gap < 160) requestAnimationFrame(() => { scroll.scrollTop = scroll.scrollHeight; });
        };

        const add = (role, source, time, id) => {
          if (id) { if (seen.has(id)) return; seen.add(id); }
          $('empty').hidden = true;
          const item = make('li', 'm ' + role, role === 'agent' ? render(source) : source);
          const when = new Date(time);
          const stamp = make('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
          stamp.dateTime = when.toISOString();
          stamp.title = when.toLocaleString();
          item.append(stamp);
          log.insertBefore(item, live || null);
          toEnd(role === 'user');
          return item;
        };

        // What was sent and is not answered yet outlives a reload.
        const pending = () => JSON.parse(sessionStorage.getItem('pending') || '[]');
        const keep = (list) => sessionStorage.setItem('pending', JSON.stringify(list.slice(-50)));
        const settle = (eventID) => keep(pending().filter((one) => one.event !== eventID));

        const showLive = () => {
          clearTimeout(timer);
          if (live) return;
          liveText = '';
          live = make('li', 'm agent live', make('ul', 'skills'), make('div', 'dots'));
          live.setAttribute('aria-hidden', 'true');
          log.append(live);
          toEnd();
        };
        const hideLive = () => { clearTimeout(timer); if (live) live.remove(); live = undefined; };

        const state = (word, name) => { $('state').textContent = word; $('dot').className = name; };

        const listen = () => {
          stream = new EventSource('/v1/chat/stream?from=' + encodeURIComponent(next));
          stream.onopen = () => {
            state('connected', 'on');
            for (const retry of log.querySelectorAll('.retry')) retry.click();
          };
          stream.onerror = () => {
            state('reconnecting', 'off');
            if (stream.readyState !== EventSource.CLOSED) return;
            const mine = generation;
            setTimeout(() => { if (mine === generation) start(); }, 2000);
          };
          stream.addEventListener('reply', (event) => {
            const reply = JSON.parse(event.data);
            next = String(BigInt(event.lastEventId) + 1n);
            const skills = live && live.firstChild.children.length ? live.firstChild : undefined;
            hideLive();
            const item = add('agent', reply.text, reply.time, reply.id);
            if (item && skills) item.prepend(skills);
            answered.add(reply.in_response_to);
            settle(reply.in_response_to);
          });
          stream.addEventListener('turn', (event) => {
            const turn = JSON.parse(event.data);
            if (turn.state === 'ended') { timer = setTimeout(hideLive, 4000); return; }
            showLive();
            live.firstChild.replaceChildren(...turn.skills.map((skill) => make('li', skill.state,
              skill.name + (skill.state === 'running' ? ' is running in its sandbox'
                : skill.state === 'done' ? ' ran in its sandbox' : ' failed in its sandbox'))));
            toEnd();
          });
          stream.addEventListener('text', (event) => {
            const part = JSON.parse(event.data);
            if (!part.text && !live) return;
            showLive();
            liveText = part.append ? liveText + part.text : part.text;
            const body = liveText ? render(liveText) : make('div', 'dots');
            live.replaceChild(body, live.lastChild);
            toEnd();
          });
        };

        const post = async (one, item) => {
          item.classList.remove('failed');
          try {
            const response = await fetch('/v1/chat/messages', {
              method: 'POST',
              headers: { 'Content-Type': 'application/json' },
              body: JSON.stringify({ id: one.id, text: one.text }),
            });
            const answer = await response.json();
            if (!response.ok) throw new Error(answer.error);
            seen.add(answer.id);
            keep(pending().map((other) => other.id === one.id ? { ...other, event: answer.id } : other));
            // A quick answer comes before this one.
            if (answered.has(answer.id)) { settle(answer.id); return; }
            showLive();
            timer = setTimeout(hideLive, 120000);
          } catch (error) {
            item.classList.add('failed');
            const retry = make('button', 'retry', 'Not sent. Try again');
            retry.type = 'button';
            retry.title = String(error.message || error);
            // The same id: should it have arrived after all, it counts once.
            retry.onclick = () => { retry.remove(); post(one, item); };
            item.append(retry);
          }
        };

        const identifier = () => Array.from(crypto.getRandomValues(new Uint8Array(16)),
          (byte) => byte.toString(16).padStart(2, '0')).join('');

        const say = (words) => {
          if (!words.trim()) return;
          const one = { id: identifier(), text: words, time: new Date().toISOString() };
          keep([...pending(), one]);
          post(one, add('user', one.text, one.time));
        };

        const start = async () => {
          const mine = ++generation;
          if (stream) stream.close();
          try {
            const response = await fetch('/v1/chat/history');
            if (response.status === 401) { location.reload(); return; }
            if (!response.ok) throw new Error(response.status);
            const history = await response.json();
            if (mine !== generation) return;
            hideLive();
            log.replaceChildren();
            seen.clear();
            for (const one of history.messages) add(one.role, one.text, one.time, one.id);
            keep(pending().filter((one) => !seen.has(one.event)));
            for (const one of pending()) {
              const item = add('user', one.text, one.time, one.event);
              if (item && !one.event) post(one, item);
            }
            $('empty').hidden = log.children.length > 0;
            next = history.next;
            listen();
            toEnd(true);
          } catch {
            state('not reachable', 'off');
            setTimeout(() => { if (mine === generation) start(); }, 2000);
          }
        };

        const fit = () => {
          text.style.height = 'auto';
          text.style.height = Math.min(text.scrollHeight + 2, 150) + 'px';
          send.disabled = !text.value.trim();
          sessionStorage.setItem('draft', text.value);
        };
        const submit = () => { say(text.value); text.value = ''; fit(); text.focus(); };
        $('form').onsubmit = (event) => { event.preventDefault(); submit(); };
        text.oninput = fit;
        text.onkeydown = (event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          submit();
        };
        for (const hint of document.querySelectorAll('#hints button')) hint.onclick = () => say(hint.textContent);
        text.value = sessionStorage.getItem('draft') || '';
        fit();
        // Leaving and coming back by the browser's buttons finds the page as it was, and then up to date.
        addEventListener('pagehide', () => { generation++; if (stream) stream.close(); });
        addEventListener('pageshow', start);

        """#
}
