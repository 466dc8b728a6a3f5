"""Words by which people of many languages say what they want done. Data, and how it is looked up.

Each group lists stems: a word counts when it begins with one; a stem that ends in "$" is a whole word, one that ends in
"|" a phrase, and in scripts without spaces a stem counts wherever it stands. Accents and case do not matter.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

WORDS_REMEMBERED = 50_000
LONGEST_REMEMBERED = 40
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]")
_WORD = re.compile(r"[^\W_]+(?:[+#]+)?|[\u0e00-\u0eff]+")

TRANSLATE = """
translat traduc traduz traduis traduire traduct tradui ubersetz uebersetz vertaal vertal oversaet oversett
overset$ oversatt kaanna kaannos przetlumacz tlumacz prelozit preloz prelozte fordit lefordit traduce$ tercume
cevir$ cevirin ceviri перевед перевод переклад преведи превод ترجم ترجمة בתרגום תרגם תרגמי μεταφρα अनुवाद
তরজমা অনুবাদ แปล dich$ dịch terjemah tafsiri แปลว่า మార్చు అనువద மொழிபெயர் 翻译 翻譯 译成 譯成 译为 譯為 译文 訳し 訳して 翻訳 訳す
和訳 英訳 번역
how do you say|how do i say|how would you say|how to say|what is the word for|what's the word for|
como se dice|como se diz|comment dit-on|comment dire|wie sagt man|wie heisst|come si dice|hoe zeg je|
как сказать|как будет|كيف أقول|كيف نقول|ne demek|nasil denir|怎么说|怎麼說|何と言|なんて言|어떻게 말|뭐라고|jak powiedziec|
jak sie mowi|कैसे कहते|कैसे कहें|bagaimana mengatakan|noi the nao|พูดว่าอย่างไร|transliterat|romaniz|
what does|mean in english|in english please|subtitle|
"""
SUMMARIZE = """
summar tldr$ tl;dr recap$ recaps gist$ condens abridg shorten digest$ synops abstract$ minutes$ takeaway
highlights$ boil$ nutshell resum résum resumen resumir resumi resumo riassu sintetiz sintes synthes
zusammenfass zusammenfa fasse$ fass$ kurzfassung samenvat vat$ sammanfatt opsummer oppsummer tiivista streszcz
streszcze podsumuj souhrn shrn osszefoglal ozetle ozet$ ozetini rezum кратко пересказ перескаж резюм суммир
обобщ сократи вкратце стисло підсумуй لخص تلخيص ملخص اختصر خلاصه סכם תקצר סיכום περιληψη συνοψ सारांश संक्षेप
সারাংশ সংক্ষেপ สรุป tom$ tóm ringkas muhtasari సారాంశ சுருக்க 总结 總結 概括 摘要 归纳 歸納 概述 简述 要点 要點 大意 缩写 要約 まとめて まとめ
요약 정리해 간추
main points|key points|main idea|in short|in one sentence|in a sentence|in a few sentences|too long|
points cles|wichtigsten punkte|fasse zusammen|puntos principales|punti chiave|главное|основн|一句话|一段话|
in brief|bring it down|cut down|cut this down|sum up|short version|bullet points|
"""
EXTRACT = """
extract extrae extraer extraire extrais extrait extrahi estrai estrarre extraia extrair haal$ izvlec wyodrebn
wypisz wyciagn vypis извлек извлеч выпиш выдел выдели найди витягни випиши استخرج استخراج חלץ εξαγ निकाल
निकालें খুঁজে ดึง trich$ trích ekstrak toa$ identif pull$ parse$ parses fetch$ collect$ gather$ pick$ locate$
spot$ retriev$ isolat$ tabulat$ itemiz scrape$ capture$ fill$ field fields cikar$ cikart bul$ listele$ nenne$
liste$ lister$ relev$ releve$ recense trouve$ trova elenca enumera lista$ encuentra identifica suche$ finde$
nenn entnimm auflist hämta plocka 提取 抽取 找出 列出 摘出 挑出 标出 識別 识别 実体 实体 抽出 抜き出 取り出 추출 뽑아 찾아 골라 keyword keywords
entities entity json$ csv$ yaml$ xml$ schlusselworter
list all|list the|list every|find all|named entit|mentioned in|all the names|from the text|in the text|
from this|which of the following people|aus dem text|du texte|del texto|del testo|do texto|из текста|
من النص|文中|文章中|本文中|从下面|从以下|以下の文|텍스트에서|다음 글에서|key-value|key value|fill in the|pull out|quote the sentence|
every date|every name|all dates|phone number|email address|as a table|as json|
"""
WRITE = """
write$ writes writing draft$ compos pen$ craft$ poem$ poems haiku limerick sonnet ode$ story stories fable
tale$ novel$ essay blog$ email$ mail$ letter$ speech toast$ lyrics song$ rap$ verse script$ scene$ dialogue
dialog$ monolog screenplay slogan tagline headline title$ titles caption tweet post$ press$ newsletter
invitation obituary eulogy bio$ advert ad$ brochure flyer roleplay pretend imagine$ persona character escrib
redact escribe poema cuento relato carta$ correo ensayo discurso eslogan titulo$ inventa ecris ecrire redige
rediger poeme histoire conte$ lettre$ courriel discours invente schreib verfass dicht gedicht geschicht brief$
rede$ aufsatz erfinde entwirf formulier scriv poesia racconto lettera saggio discorso componi escrev redij
conto$ carta crie$ schrijf verhaal brief verzin skriv dikt berattelse kirjoit runo napisz wiersz opowiad list$
wypracowanie napis basen$ povidk dopis irj$ vers$ levelet yaz$ yazin siir hikaye mektup scrie напиш сочин стих
стихо рассказ сказк письм эссе придум составь речь сочини напишы вірш лист$ оповід اكتب أكتب قصيدة قصة رسالة
مقال خطاب שיר כתוב כתבי סיפור γραψ ποιημα ιστορια लिख कविता कहानी पत्र निबंध লিখ কবিতা গল্প চিঠি เขียน กลอน
เรื่องสั้น จดหมาย viet$ viết tulis puisi cerita surat andika shairi hadithi రాయ కవిత కథ கவிதை எழுது کہانی
بنویس شعر داستان نامه 写 寫 作诗 作文 撰写 撰寫 创作 創作 诗 詩 故事 小说 小說 邮件 郵件 演讲 标题 標題 文案 广告 廣告 致辞 编写一 拟 续写 書いて 書く 物語 小説 手紙
メール文 スピーチ キャッチコピー 俳句 써줘 써주 쓰기 작성 시를 소설 편지 이야기 글을 지어 만들어
act as|i want you to act|you are a|pretend you|play the role|role of|come up with a|make up a|扮演|充当|充當|假装|
演じて|역할|作为一名|你是一|agis comme|actua como|stell dir vor|du bist ein|inspired by|in the style of|
"""
REWRITE = """
rewrite reword rephras paraphras proofread polish$ edit$ edits correct$ improve$ grammar grammat spelling
tone$ formal informal simplif friendlier politer concise$ clearer catchier expand$ elaborat lengthen reescrib
parafrase corrig corrij mejora reformul ameliore umformul umschreib formuliere verbesser korrigier riscriv
corregg migliora reescrev herschrijf verbeter korriger przeredag popraw parafraz перепиш перефраз исправ
отредакт улучш أعد صحح صياغة שכתב תקן ξαναγρα διορθωσ दोबारा सुधार संशोध সংশোধন เรียบเรียง แก้ไข sua$ sửa
perbaiki duzelt duzenle yeniden 改写 改寫 润色 潤色 重写 重寫 改成 修改 校对 校對 纠正 语法 語法 扩写 優化 优化 添削 書き直 書き換え 言い換え 校正 直して 고쳐 다듬
바꿔 교정
make it sound|make this sound|sound more|fix the grammar|more formal|more polite|in your own words|
simpler words|plus poli|hoflicher|mas formal|
"""
CODE = """
code$ codes coding coded program$ programs programm python$ javascript typescript java$ kotlin swift rust$
golang go$ ruby$ php$ perl$ scala haskell c++ c# matlab$ julia$ bash$ shell$ powershell sql$ mysql postgres
sqlite mongodb query$ queries html$ css$ react$ vue$ angular django flask fastapi node$ npm$ pip$ docker
kubernetes k8s kubectl terraform ansible nginx git$ github gitlab regex regexp function$ functions method$
class$ loop$ array$ arrays string$ strings dict$ dataframe pandas numpy tensorflow pytorch api$ endpoint http$
https json$ yaml$ xml$ bug$ bugs debug refactor compil error$ exception stack$ traceback segfault null$
pointer unit$ pytest junit script$ cron makefile cmake webpack algorithm recursiv async thread$ threads mutex
deadlock database schema$ index$ join$ leetcode excel$ vlookup spreadsheet formula$ vba$ macro$ linux$ ubuntu
ssh$ chmod grep$ sed$ awk$ vim$ vscode snippet implement codigo funcion programa consulta script codice
funzione funktion skript abfrage fehler fonction requete boucle codigo$ funcao kod$ kodu fonksiyon код функци
скрипт программ запрос ошибк регуляр كود برنامج دالة פונקציה קוד κωδικ συναρτηση कोड फ़ंक्शन फंक्शन प्रोग्राम
কোড ফাংশন โค้ด ฟังก์ชัน โปรแกรม hàm ham$ lap$ fungsi msimbo ప్రోగ్రామ్ 代码 代碼 函数 函數 程序 程式 编程 編程 脚本 腳本 算法 接口 数据库
資料庫 报错 變數 变量 编写一个函数 コード 関数 プログラム スクリプト エラー 実装 코드 함수 프로그램 스크립트 쿼리 구현 正则 正規表現 정규 environment variable
def|return|stack trace|unit test|pull request|command line|merge conflict|regular expression|
design pattern|time complexity|in place|file name|
"""
MATH = """
calculat comput solve$ solves equation integral integrate derivative differentiat probability theorem prove$
proof$ lemma matrix$ matrices determinant eigenvalue polynomial fraction$ percent$ percentage ratio$ sum$
product$ remainder prime$ divisib divisor gcd$ lcm$ square$ root$ sqrt triangle circle radius perimeter area$
volume$ angle$ angles arithmetic algebra geometr calculus average$ mean$ median$ variance permutation
combination dice$ coin$ cards$ logarithm exponent vector$ modulo convert$ simplify factor$ factori equals$
times$ plus$ minus$ divided calcul ecuacion suma$ cuanto cuantos cuantas combien berechn gleichung wieviel
wahrscheinlich quante quanti quanto quantos quantas hoeveel hur$ oblicz rownan ile$ kolik hany$ hesapla kac$
kaç denklem cate$ вычисл реши уравнен сколько найдите посчит докаж вероятност скільки обчисли احسب حل معادلة
كم חשב כמה פתור υπολογ ποσα ποσο εξισωση गणना कितन हल समीकरण কত হিসাব সমীকরণ คำนวณ เท่าไร กี่ เท่าไหร่ tinh$
tính bao$ hitung berapa kokotoa ngapi లెక్క ఎన్ని எத்தனை حساب چند 计算 計算 求 解方程 方程 多少 几个 幾個 几只 几天 概率 面积 面積 体积 證明
证明 积分 导数 计算器 求める いくつ いくら 何個 何人 何円 解け 確率 면적 계산 몇 얼마 확률 방정식 구하
how many|how much|what is the value|find the value|square root|per hour|how long will|how far|
what fraction|combien de|wie viele|wie viel|cuantos|quantos|сколько всего|in total|altogether|more than|
twice as|half of|each day|per week|
"""
REASON = """
why$ warum wieso weshalb pourquoi perche porque por$ hvorfor varfor waarom miksi dlaczego proc$ miert neden
nicin niye почему зачем отчего чому لماذا ليش چرا מדוע למה γιατι क्यों কেন ทำไม tai$ tại mengapa kenapa kwa$
ఎందుకు ஏன் 为什么 為什麼 为何 為何 なぜ どうして 왜 analy analys analiz analis compar$ compare$ compares contrast evaluat
assess$ argue$ argument fallacy logic$ logical puzzle riddle deduc infer$ infers conclud conclusion cause$
causes effect$ effects consequence implication tradeoff dilemma ethic moral hypothe suppose$ premise valid
invalid true$ false$ explain$ explains reason$ justify advantages disadvantages pros$ cons$ explica expliqu
erklar spiega uitleg forklar wyjasn vysvetli magyaraz acikla объясн поясни сравн проанализ рассужд логич
загадк اشرح قارن حلل فسر הסבר השווה εξηγ συγκριν समझा तुलना विश्लेषण ব্যাখ্যা তুলনা อธิบาย เปรียบเทียบ
วิเคราะห์ giai$ giải so$ phân jelaskan bandingkan eleza linganisha 分析 比较 比較 推理 解释 解釋 原因 影响 影響 如何看待 评价 評價 优缺点
利弊 区别 逻辑 邏輯 谜 判断 論証 説明して 理由 考察 推論 論理 설명 비교 분석 이유 추론 논리 장단점
what would happen|what if|pros and cons|which of the following|which one of|trade-off|step by step|
best explains|most likely|must be true|is it possible|who is|who sits|to the left of|to the right of|
older than|taller than|que pasaria|was ware wenn|was wurde passieren|what happens when|options:|how come|
is the argument|do you agree|qual das|cual de|laquelle|welche der folgenden|какой из|какое из|以下哪|下列|次のうち|
다음 중|
"""
CHAT = """
recommend suggest tips$ tip$ advice advise recipe recipes cook$ bake$ trip$ travel$ visit$ vacation restaurant
movie$ movies film$ films gift$ gifts hello$ hi$ hey$ thanks thank$ bye$ joke$ jokes favorite favourite
weather hobby hobbies capital$ define$ definition meaning$ who's when$ where$ what's recomiend recomenda
consejo receta hola$ gracias empfehl empfiehl tipps rezept danke$ hallo$ conseil recette bonjour merci$
consigli ricetta ciao$ dica$ dicas receita obrigad tip recept poleca przepis czesc oner$ tavsiye tarif$
merhaba посовет порекоменд рецепт привет спасибо совет подскаж порадь انصح وصفة مرحبا شكرا המלץ מתכון שלום
προτειν συνταγη γεια सुझाव सलाह नमस्ते विधि পরামর্শ রেসিপি แนะนำ สูตร สวัสดี goi$ gợi công rekomend resep
halo$ pendekez mapishi habari 推荐 推薦 建议 建議 食谱 你好 谢谢 怎么做 做法 おすすめ レシピ こんにちは ありがとう アドバイス 추천 레시피 안녕 감사 조언 알려줘 教えて
what is|what are|who was|who is|when did|where is|how do i|how can i|how to|tell me about|what should i|
best way to|good for|ideas for|can you recommend|was ist|wer war|qu'est-ce|que es|o que e|che cos|
что такое|кто такой|ما هو|ما هي|是什么|什么是|とは|무엇|
"""
GIVEN = """
following$ below$ above$ passage$ article$ paragraph$ text$ document$ transcript excerpt input$ output$
sentence$ sentences conversation thread$ report$ abstract$ review$ siguiente$ texto$ parrafo articulo suivant
suivante texte$ article folgend text absatz artikel seguente testo brano articolo trecho volgende tekst
nasledujici tekst$ следующ текст$ текста$ статья статью абзац отрывок النص التالي المقال الفقرة הטקסט הבא
κειμενο ακολουθ निम्नलिखित पाठ অনুচ্ছেদ নিচের ข้อความ ต่อไปนี้ đoạn doan$ văn teks berikut metin metni
asagidaki maandishi 以下 下面 下列 文章 文本 段落 这段 這段 本文 短文 材料 次の 以下の テキスト 다음 아래 글 문장 본문
"""
LANGUAGES = """
english$ french$ german$ spanish$ italian$ portuguese$ russian$ chinese$ mandarin$ cantonese japanese$ korean$
arabic$ hindi$ turkish$ dutch$ polish$ greek$ hebrew$ latin$ swedish$ norwegian$ danish$ finnish$ czech$
hungarian$ romanian$ ukrainian$ vietnamese$ thai$ indonesian$ malay$ swahili$ bengali$ tamil$ telugu$ urdu$
persian$ farsi$ tagalog catalan$ ingles$ frances$ aleman$ espanol italiano$ portugues$ ruso$ chino$ japones$
arabe$ anglais$ francais$ allemand$ espagnol$ italien$ portugais$ russe$ chinois$ japonais$ englisch$
englische$ franzosisch deutsch$ deutsche$ spanisch italienisch portugiesisch russisch chinesisch japanisch
arabisch turkisch inglese$ francese$ tedesco$ spagnolo$ английск французск немецк испанск русск китайск японск
арабск італій английский англійськ українськ الإنجليزية العربية الفرنسية الألمانية انجليزي अंग्रेज़ी अंग्रेजी
हिंदी हिन्दी ইংরেজি বাংলা อังกฤษ ภาษาไทย inggris indonesia$ anh$ ingilizce turkce almanca fransizca angielski
niemiecki polsku kiswahili kiingereza αγγλικα ελληνικα 英语 英語 英文 中文 法语 法文 德语 德文 日语 日文 西班牙 俄语 韩语 韩文 日本語 中国語
フランス語 ドイツ語 韓国語 スペイン語 영어 한국어 일본어 중국어 프랑스어
"""

GROUPS: Mapping[str, str] = {
    "translate": TRANSLATE,
    "summarize": SUMMARIZE,
    "extract": EXTRACT,
    "write": WRITE,
    "rewrite": REWRITE,
    "code": CODE,
    "math": MATH,
    "reason": REASON,
    "chat": CHAT,
    "given": GIVEN,
    "languages": LANGUAGES,
}


def folded(text: str) -> str:
    """Return ``text`` without case and without the accents of Latin, Greek and Cyrillic letters."""
    text = text.casefold()
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", plain))


class Lexicon:
    """The stems of every group, arranged for looking words up; groups are bits of a number."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._stems: dict[str, int] = {}
        self._whole: dict[str, int] = {}
        self._inside: dict[str, int] = {}
        self._phrases: dict[str, list[tuple[str, int]]] = {}
        self._words: dict[str, int] = {}
        for number, text in enumerate(groups.values()):
            for line in text.strip().splitlines():
                for stem in line.split("|") if "|" in line else line.split():
                    self._add(folded(stem.strip()), 1 << number)
        self._shortest = min(map(len, self._stems))
        self._longest = max(map(len, self._stems))
        self._beginning_with: dict[str, list[tuple[str, int]]] = {}
        for stem, bits in self._inside.items():
            self._beginning_with.setdefault(stem[0], []).append((stem, bits))

    def _add(self, stem: str, bit: int) -> None:
        plain = stem.removesuffix("$")
        if not plain:
            return
        if any(mark in stem for mark in " ';-:"):
            first = _WORD.search(plain)
            if first is not None:
                self._phrases.setdefault(first.group(), []).append((plain[first.start() :], bit))
            return
        table = self._inside if _UNSPACED.match(stem) else self._whole if stem.endswith("$") else self._stems
        table[plain] = table.get(plain, 0) | bit

    def hits(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield (position, groups) for each word of folded ``text`` that the lexicon holds."""
        for word in _WORD.finditer(text):
            token, at = word.group(), word.start()
            bits = self._words.get(token)
            if bits is None:
                bits = self._word(token)
            for phrase, bit in self._phrases.get(token, ()):
                bits |= bit if text.startswith(phrase, at) else 0
            if bits:
                yield at, bits
        if not text.isascii() and _UNSPACED.search(text):
            yield from self._unspaced(text)

    def _unspaced(self, text: str) -> Iterator[tuple[int, int]]:
        for at, character in enumerate(text):
            for stem, bits in self._beginning_with.get(character, ()):
                if text.startswith(stem, at):
                    yield at, bits

    def _word(self, token: str) -> int:
        bits = self._whole.get(token, 0)
        for length in range(self._shortest, min(len(token), self._longest) + 1):
            bits |= self._stems.get(token[:length], 0)
        if len(self._words) < WORDS_REMEMBERED and len(token) <= LONGEST_REMEMBERED:
            self._words[token] = bits
        return bits


@cache
def lexicon() -> Lexicon:
    return Lexicon(GROUPS)


def group_counts(text: str) -> Sequence[int]:
    """Return how many words of each group folded ``text`` holds."""
    counts = [0] * len(GROUPS)
    for _, bits in lexicon().hits(text):
        for group in range(len(GROUPS)):
            counts[group] += bits >> group & 1
    return counts


def first_group(text: str) -> int:
    """Return the group whose word comes first in folded ``text``, -1 when there is none."""
    _, bits = min(lexicon().hits(text), default=(0, 0))
    return (bits & -bits).bit_length() - 1
