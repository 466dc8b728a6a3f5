"""Orders to a model as people write them, in words and beginnings of words.

A word with a star stands for all that begin with it; words of scripts without spaces, and such as join what others
write apart, are found anywhere. All of it is read by plain() before it is looked for.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Words of which a clause of an order has one of each kind, wherever they stand in it.

    ``verbs`` say what is to be done, ``which`` and ``objects`` with what; without ``which`` two kinds are enough.
    """

    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    which: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _order(verbs: str, which: str, objects: str) -> Order:
    return Order(verbs=_words(verbs), which=_words(which) if which else (), objects=_words(objects))


# Of rules, commands and the like only earlier ones and the reader's own: that others are passed over is said of
# programs too. Whoever overrides prompts is mostly a programmer.
OVERRIDES: tuple[Order, ...] = (
    _order(
        "ignore, ignoring, disregard, disregarding, forget, do not follow, don't follow, do not obey, don't obey, "
        "do not comply with, pay no attention to, stop following, set aside, no longer follow, abandon, neglect",
        "previous*, prior, earlier, preceding, above, all, any, every, your, foregoing, original, system, safety, "
        "existing, before this, so far, you were given, you have been given, you received, developer*, initial, "
        "former, past, other",
        "instruction*, prompt*, directive*, guideline*, system message*, guardrail*, programming, orders, directions, "
        "safeguards, safety training",
    ),
    _order(
        "ignore, ignoring, disregard, disregarding, forget, do not follow, don't follow, stop following, set aside, "
        "do not obey",
        "previous*, prior, preceding, your, foregoing, you were given, you have been given, above, earlier",
        "rules, commands, command, constraints, restrictions, training, context, policies, policy, task, tasks, "
        "content policy",
    ),
    _order(
        "override, bypass, overrule, discard, cancel, delete, erase, drop, scrap",
        "your, prior, preceding, all previous, any previous, the previous, all earlier, earlier, foregoing, "
        "all your, you were given",
        "instructions, system prompt, guidelines, guardrails, directives, safety*, programming",
    ),
    _order(
        "forget, ignore, disregard",
        "everything, anything, all of that, whatever, all that, what",
        "above, before this, you were told, you have been told, you were given, you know about your, i said before, "
        "that came before, up to this point, prior to this, said so far, up to now, you've been told, you read before, "
        "previously told, previously said",
    ),
    _order(
        "ignoriere, ignorier, ignorieren, missachte*, vergiss, vergesst, vergessen sie, beachte nicht, beachten sie nicht, verwirf, "
        "verwerfe*, außer acht, setze dich über, befolge nicht, befolgt nicht, halte dich nicht, nicht mehr beachten",
        "vorherig*, bisherig*, vorig*, vorangegangen*, vorangehend*, vorstehend*, obig*, früher*, alle, allen, aller, "
        "alles, sämtlich*, ursprünglich*, dein*, system*, zuvor, vorher, darüber, oben",
        "anweisung*, instruktion*, befehle, befehl, vorgabe*, anordnung*, richtlinien, prompt*, systemprompt*, "
        "systemanweisung*, regeln, weisungen, systemnachricht*",
    ),
    _order(
        "ignore, ignorez, ignorer, oublie, oubliez, oublier, ne tiens pas compte, ne tenez pas compte, "
        "ne tenez aucun compte, fais abstraction, faites abstraction, ne respecte pas, ne suis pas, ne suivez pas, "
        "ne tiens plus compte, ne tenez plus compte",
        "précédent*, antérieur*, ci-dessus, toutes, tous, tout, initial*, système, reçues, tes, d'avant, plus haut",
        "instruction*, consigne*, directive*, règles, ordres, prompt*, invite système, commandes",
    ),
    _order(
        "ignora, ignore, ignorad, ignoren, olvida, olvide, olvidad, olvidate, caso omiso, no hagas caso, no tengas en cuenta, "
        "no tenga en cuenta, descarta, descarte, pasa por alto, pase por alto, no sigas, deja de seguir",
        "anterior*, previ*, de arriba, todas, todos, original*, sistema, tus, precedente*, hasta ahora, que te dieron, antes",
        "instrucci*, indicaci*, órdenes, reglas, directriz, directrices, directivas, prompt*, consignas",
    ),
    _order(
        "ignora, ignori, ignorate, ignorare, dimentica, dimentichi, dimenticate, non tenere conto, non tener conto, "
        "tralascia, trascura, non seguire, non considerare",
        "precedent*, anterior*, qui sopra, di sopra, tutte, tutti, inizial*, original*, sistema, tue, finora, sopra, in precedenza",
        "istruzion*, direttiv*, regole, ordini, prompt*, indicazioni, comandi",
    ),
    _order(
        "ignore, ignora, ignorem, esqueça, esquece, esqueçam, desconsidere, desconsidera, não siga, não sigas, "
        "desobedeça, despreze",
        "anterior*, prévi*, acima, todas, todos, original*, originais, sistema, suas, tuas, até agora",
        "instruç*, ordens, regras, diretriz*, diretiv*, comandos, prompt*, orientações",
    ),
    _order(
        "negeer, negeert, vergeet, sla geen acht, let niet op, houd je niet aan, volg niet, schenk geen aandacht, trek je niets aan",
        "vorige, voorgaande, eerdere, bovenstaande, alle, oorspronkelijke, jouw, je, systeem*, voorafgaande, hierboven",
        "instructie*, opdrachten, opdracht, regels, aanwijzing*, richtlijn*, prompt*, bevelen",
    ),
    _order(
        "zignoruj*, ignoruj*, zapomnij, zapomnijcie, pomiń, nie zwracaj uwagi, zlekceważ, nie stosuj się, "
        "nie przestrzegaj",
        "poprzedni*, wcześniejsz*, powyższ*, wszystk*, dotychczasow*, wszelki*, systemow*, swoje, swoich",
        "instrukcj*, poleceni*, poleceń, rozkaz*, zasady, zasad, wytyczn*, prompt*, wskazów*",
    ),
    _order(
        "ignoruj*, zapomeň*, nevšímej si, neber v potaz, neřiď se, opomeň, zanedbej",
        "předchozí*, předešl*, dosavadní*, všechny, všech, výše, dřívější*, systémov*, své",
        "pokyn*, instrukc*, příkaz*, pravidla, prompt*, direktiv*",
    ),
    _order(
        "игнорируй*, проигнорируй*, забудь*, не обращай внимания, не обращайте внимания, не учитывай*, отмени*, "
        "не следуй*, отбрось*, не выполняй*",
        "предыдущ*, прежн*, ранее, выше*, все, всё, прошл*, системн*, исходн*, свои, данные тебе, полученные",
        "инструкц*, указани*, команд*, правил*, промпт*, распоряжени*, директив*",
    ),
    _order(
        "ігноруй*, проігноруй*, забудь*, не зважай*, не звертай уваги, не дотримуйся",
        "попередн*, раніше, вище, всі, усі, системн*, колишн*, свої",
        "інструкц*, вказівк*, команд*, правила, промпт*, наказ*, настанов*",
    ),
    _order(
        "yok say*, görmezden gel*, unut, unutun, unutup, dikkate alma*, göz ardı et*, aldırma*, uyma*",
        "önceki, yukarıdaki, tüm, bütün, daha önce*, sistem*, evvelki, verilen",
        "talimat*, yönerge*, komut*, kural*, prompt*, istem*, direktif*",
    ),
    _order(
        "ignorera, ignorer, glöm, bortse från, strunta i, se bort fra, glem, följ inte, følg ikke",
        "tidigare, föregående, alla, ovanstående, ovan, tidligere, foregående, alle, foregående, forrige",
        "instruktion*, anvisning*, order, regler, prompt*, direktiv*, instruks*",
    ),
    _order(
        "jätä huomiotta, unohda, älä noudata, älä välitä, sivuuta",
        "aiemm*, aikaisemm*, edellis*, kaikki, yllä olev*",
        "ohje*, käsky*, määräy*, sääntö*, säännöt, kehot*",
    ),
    _order(
        "ignoră, ignorați, uită, uitați, nu ține cont, nu urma, nu respecta",
        "anterioar*, precedent*, de mai sus, toate, inițial*",
        "instrucțiun*, indicați*, reguli*, ordine*, prompt*, comenzi*",
    ),
    _order(
        "hagyd figyelmen kívül, felejtsd el, ne vedd figyelembe, ne kövesd",
        "korábbi*, előző*, összes, minden, fenti*, eddigi*",
        "utasítás*, parancs*, szabály*, prompt*, iránymutatás*",
    ),
    _order(
        "αγνόησε, αγνοήστε, ξέχασε, ξεχάστε, μην ακολουθ*, παράβλεψε",
        "προηγούμεν*, παραπάνω, όλες, κάθε, αρχικ*",
        "οδηγί*, εντολ*, κανόν*, prompt*",
    ),
    _order(
        "abaikan, lupakan, jangan ikuti, jangan hiraukan, kesampingkan",
        "sebelumnya, semua, di atas, seluruh, terdahulu",
        "instruksi, perintah, aturan, petunjuk, prompt, arahan",
    ),
    _order(
        "bỏ qua, phớt lờ, quên, đừng làm theo, không tuân theo",
        "trước đó, trước đây, trước, ở trên, mọi, tất cả",
        "hướng dẫn, chỉ dẫn, mệnh lệnh, chỉ thị, lời nhắc, prompt",
    ),
    _order(
        "忽略, 无视, 無視, 忽視, 忘记, 忘掉, 忘記, 不要理会, 不要遵守, 不要遵循, 抛弃, 别管, 不用管, 不必遵守",
        "之前, 以前, 先前, 上面, 以上, 前面, 上述, 所有, 此前, 一切, 系统, 系統, 你的, 原有, 此前的",
        "指令, 指示, 提示词, 提示詞, 系统提示, 系統提示, 命令, 规则, 規則, 指引",
    ),
    _order(
        "無視, 忘れ, 従わない, 従うな, 破棄, 考慮しない",
        "これまで, 以前, 上記, 前の, すべて, 全て, 今まで, 先ほど, 以上, システム, それまで, 元の, あらゆる",
        "指示, 命令, 指令, プロンプト, ルール, 規則, インストラクション",
    ),
    _order(
        "무시, 잊어, 잊고, 따르지 마, 따르지마, 잊으",
        "이전, 앞선, 앞의, 위의, 모든, 지금까지, 기존, 시스템, 위 , 원래",
        "지시, 명령, 지침, 프롬프트, 규칙",
    ),
    _order(
        "تجاهل, أهمل, لا تتبع, اهمل, تغاضى, إنسى, انسى",
        "السابق, أعلاه, جميع, كل , كافة, الأصلية, السالفة",
        "تعليمات, التعليمات, الأوامر, أوامر, القواعد, توجيهات, التوجيهات, الإرشادات",
    ),
    _order(
        "نادیده بگیر, فراموش کن, توجه نکن, پیروی نکن",
        "قبلی, بالا, تمام, همه, پیشین",
        "دستور, راهنما, فرمان, قوانین, پرامپت",
    ),
    _order(
        "התעלם, התעלמי, התעלמו, שכח, שכחי, אל תציית",
        "קודמות, הקודמות, קודמים, הקודמים, כל , לעיל, שלמעלה",
        "הוראות, ההוראות, הנחיות, ההנחיות, פקודות, הפקודות, כללים, הכללים",
    ),
    _order(
        "अनदेखा, नज़रअंदाज़, नजरअंदाज, भूल जा, उपेक्षा, पालन न कर, अनदेखी",
        "पिछले, पिछली, पहले, सभी, उपरोक्त, ऊपर, पूर्व, सारे, सब ",
        "निर्देश, आदेश, नियम, प्रॉम्प्ट, हिदायत, अनुदेश",
    ),
    _order(
        "উপেক্ষা, ভুলে যা, অগ্রাহ্য",
        "আগের, পূর্ববর্তী, সব, সকল, উপরের",
        "নির্দেশ, আদেশ, নিয়ম, প্রম্পট",
    ),
    _order(
        "ละเว้น, เพิกเฉย, ลืม, ไม่ต้องสนใจ, อย่าทำตาม",
        "ก่อนหน้า, ทั้งหมด, ข้างต้น, ที่ผ่านมา",
        "คำสั่ง, คำแนะนำ, กฎ, พรอมต์",
    ),
)

# Where to is an address that follows in the same clause.
SENDING: tuple[Order, ...] = (
    _order(
        "send, post, upload, forward, transmit, email, leak, exfiltrate, submit, append, encode, include, embed, copy, "
        "attach, deliver, report",
        "",
        "conversation*, chat history, chat log*, previous messages, system prompt*, user's messages, user's message, "
        "user's question*, user's files, user's emails, user's documents, user's data, user's query, "
        "your instructions, your context, your memory, contents of this chat, this dialogue, whole dialogue, session history, "
        "message history, everything the user, secrets you, credentials you, api keys you, passwords you, "
        "any secrets, any credentials, any api keys, any passwords, private data, what the user",
    ),
    _order(
        "sende, sendet, senden sie, schicke, schick, übermittle, übermitteln sie, leite, lade, poste, hänge, übertrage",
        "",
        "konversation, chatverlauf*, gesprächsverlauf*, unterhaltung, systemprompt*, bisherigen nachrichten, "
        "nachrichten des nutzers, nachrichtenverlauf, frage des nutzers, daten des nutzers, zugangsdaten des nutzers",
    ),
    _order(
        "envoie, envoyez, envoyer, transmets, transmettez, publie, publiez, transfère, transférez, poste",
        "",
        "conversation, historique, messages précédents, prompt système, message de l'utilisateur, "
        "messages de l'utilisateur, données de l'utilisateur",
    ),
    _order(
        "envía, envíe, envia, enviar, manda, mande, sube, suba, transmite, transmita, reenvía, reenvíe",
        "",
        "conversación, historial, mensajes anteriores, prompt del sistema, mensajes del usuario, datos del usuario",
    ),
    _order(
        "invia, inviate, inviare, manda, mandate, trasmetti, inoltra, carica",
        "",
        "conversazione, cronologia, messaggi precedenti, prompt di sistema, messaggi dell'utente, dati dell'utente",
    ),
    _order(
        "envie, envia, enviar, mande, manda, transmita, encaminhe, poste",
        "",
        "conversa, histórico, mensagens anteriores, prompt do sistema, mensagens do usuário, dados do usuário",
    ),
    _order(
        "stuur, verzend, verstuur, upload, post",
        "",
        "gesprek, chatgeschiedenis, conversatie, eerdere berichten, systeemprompt, berichten van de gebruiker",
    ),
    _order(
        "wyślij, prześlij, przekaż, wyslij",
        "",
        "rozmowę, rozmowy, konwersacj*, historię, prompt systemowy, wiadomości użytkownika",
    ),
    _order(
        "отправь, отправьте, перешли, перешлите, передай, передайте, отошли, вышли",
        "",
        "разговор, переписк*, историю чата, историю сообщений, диалог, системный промпт, беседу, "
        "сообщения пользователя",
    ),
    _order("gönder, ilet, yükle, yolla", "", "sohbet*, konuşma*, sistem istemi*, kullanıcının mesaj*"),
    _order(
        "发送, 发给, 上传, 转发, 發送, 提交, 发到, 寄到",
        "",
        "对话, 聊天记录, 会话, 系统提示, 對話, 用户的消息, 用户的问题",
    ),
    _order("送信, 送って, 転送, アップロード, 送れ", "", "会話, チャット履歴, やり取り, システムプロンプト, 対話"),
    _order("보내, 전송, 업로드", "", "대화, 채팅 기록, 시스템 프롬프트"),
    _order("أرسل, ارسل, انشر", "", "المحادثة, محادثة, سجل الدردشة, رسائل المستخدم"),
    _order("भेज, अपलोड", "", "बातचीत, चैट, वार्तालाप, सिस्टम प्रॉम्प्ट"),
)
